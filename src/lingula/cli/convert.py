"""`lingula convert`: a pickled checkpoint to safetensors, without running what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Convert:
    """Write the tensors of a pickled PyTorch checkpoint as a safetensors file; code in the pickle is never run."""

    source: tyro.conf.Positional[Path]
    """The .pt or .pth file: a state dict, or one under the key state_dict, model_state_dict, model or weights."""
    target: tyro.conf.Positional[Path]
    """The .safetensors file to write; it must not exist."""
    layout: Annotated[Literal["g2d"] | None, tyro.conf.arg(name="from")] = None
    """Whose names the tensors have: `g2d` is the official G2D code; the result starts `lingula pretrain g2d --preset released`.
    Nothing: names stay."""

    def run(self) -> None:
        """Convert."""
        if self.layout == "g2d":
            from lingula.exchange.g2d import convert_g2d_file

            count = convert_g2d_file(self.source, self.target)
            print(f"{self.target}: {count} tensors, for lingula pretrain g2d --preset released --init-from")
            return
        from lingula.core.checkpoint import convert_pickle

        count = convert_pickle(self.source, self.target)
        print(f"{self.target}: {count} tensors, for --image-encoder.weights or --init-from")
