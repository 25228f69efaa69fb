"""`lingula export RUN --to FORMAT`: a run's weights in another project's form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass
class Export:
    """Write a run's encoders as a file that another project loads."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    to: Literal["colipri"]
    """`colipri`: weights for `colipri.get_model` and `lingula.load`, and the tokeniser of the texts beside them."""
    out: Path | None = None
    """The .safetensors file to write; RUN/colipri.safetensors where nothing is given."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""

    def run(self) -> None:
        """Write weights and tokeniser."""
        from lingula.core.errors import UserError
        from lingula.exchange import save_colipri
        from lingula.exchange.colipri_export import colipri_of
        from lingula.methods.colipri import ColipriMethod
        from lingula.training.run import Run

        run = Run(self.folder)
        method = run.load_method(self.checkpoint)
        if not isinstance(method, ColipriMethod):
            raise UserError(f"run {run.path} is of {run.config.method.name}, not of colipri", "Give a colipri run.")
        target = self.out or run.path / "colipri.safetensors"
        save_colipri(colipri_of(method, run.config.crop.shape), target)
        tokeniser = target.with_suffix(".tokenizer.json")
        method.text_encoder.tokeniser.backend_tokenizer.save(str(tokeniser))
        print(f"{target}: for colipri.get_model and lingula.load; texts are read with {tokeniser}")
        storing = run.storing
        print(f"Volumes: {storing.orientation}, {storing.spacing} mm, {run.config.crop.hu_range} HU to -1 and 1")
