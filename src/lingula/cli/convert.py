"""`lingula convert`: a pickled checkpoint to safetensors, without running what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass
class Convert:
    """Write the tensors of a pickled PyTorch checkpoint as a safetensors file; code in the pickle is never run."""

    source: tyro.conf.Positional[Path]
    """The .pt or .pth file: a state dict, or one under the key state_dict, model or weights."""
    target: tyro.conf.Positional[Path]
    """The .safetensors file to write; it must not exist."""

    def run(self) -> None:
        """Convert."""
        from lingula.core.checkpoint import convert_pickle

        count = convert_pickle(self.source, self.target)
        print(f"{self.target}: {count} tensors, for --image-encoder.weights or --init-from")
