"""`lingula convert`: weights of others in our form, without running what a pickle holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Convert:
    """Write the tensors of a pickled PyTorch checkpoint as a safetensors file, or colipri's weights as a run; no code is run."""

    source: tyro.conf.Positional[Path]
    """The .pt or .pth file: a state dict, or one under the key state_dict, model_state_dict, model or weights. Of colipri also a
    .safetensors file."""
    target: tyro.conf.Positional[Path]
    """The .safetensors file to write, of colipri the run folder; it must not exist."""
    layout: Annotated[Literal["g2d", "colipri"] | None, tyro.conf.arg(name="from")] = None
    """Whose names the tensors have: `g2d` is the official G2D code; the result starts `lingula pretrain g2d --preset released`.
    `colipri` is the package colipri (or `lingula export`); the result is a run for every command. Nothing: names stay."""
    tokeniser: Path | None = None
    """Of colipri: the folder of microsoft/BiomedVLP-CXR-BERT-specialized or a tokenizer.json; nothing: SOURCE.tokenizer.json."""
    sizes: Path | None = None
    """Of colipri: YAML file of sizes, where they are not the released model's."""
    orientation: Literal["RAS", "SAR"] | None = None
    """Of colipri: axes of the volumes that it was trained on; nothing: what the file says, else RAS as in colipri 0.1.3."""

    def run(self) -> None:
        """Convert."""
        from lingula.core.errors import UserError

        if self.layout != "colipri" and (self.tokeniser or self.sizes or self.orientation):
            raise UserError("--tokeniser, --sizes and --orientation are for colipri's weights", "Give --from colipri.")
        if self.layout == "colipri":
            from lingula.data.prepare_config import VolumeStoringConfig
            from lingula.data.volume_transform_config import PRESETS
            from lingula.exchange.colipri_import import import_colipri

            released = PRESETS["colipri-0.1.3"].model_dump(include={"orientation", "spacing", "hu_range"})
            seen = import_colipri(self.source, self.target, released, self.tokeniser, self.sizes, self.orientation)
            print(f"{self.target}: a run for lingula evaluate, predict, embed, report, export and lingula.load")
            options = VolumeStoringConfig(orientation=seen["orientation"], spacing=seen["spacing"]).grid_options()
            print("Prepare volumes for it with", *(f"--{name} {value}" for name, value in options.items() if value != "None"))
        elif self.layout == "g2d":
            from lingula.exchange.g2d import convert_g2d_file

            count = convert_g2d_file(self.source, self.target)
            print(f"{self.target}: {count} tensors, for lingula pretrain g2d --preset released --init-from")
        else:
            from lingula.core.checkpoint import convert_pickle

            count = convert_pickle(self.source, self.target)
            print(f"{self.target}: {count} tensors, for --image-encoder.weights or --init-from")
