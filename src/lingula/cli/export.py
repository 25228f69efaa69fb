"""`lingula export RUN --to FORMAT`: a run's weights in another project's form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from lingula.methods.colipri import ColipriMethod
    from lingula.training.run import Run


@dataclass
class Export:
    """Write a run's encoders as a file that another project loads."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    to: Literal["colipri", "nnunet"]
    """`colipri`: weights for `colipri.get_model` and `lingula.load`, and the tokeniser of the texts beside them; `nnunet`: the
    volume encoder for nnU-Net's fine-tuning from self-supervised checkpoints."""
    out: Path | None = None
    """The file to write; RUN/colipri.safetensors or RUN/nnunet.pth where nothing is given."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""

    def run(self) -> None:
        """Write weights and whatever goes with them."""
        from lingula.core.errors import UserError
        from lingula.methods.colipri import ColipriMethod
        from lingula.training.run import Run

        run = Run(self.folder)
        method = run.load_method(self.checkpoint)
        if not isinstance(method, ColipriMethod):
            raise UserError(f"run {run.path} is of {run.config.method.name}, not of colipri", "Give a colipri run.")
        write = {"colipri": _write_colipri, "nnunet": _write_nnunet}[self.to]
        write(run, method, self.out)
        storing = run.storing
        print(f"Volumes: {storing.orientation}, {storing.spacing} mm, {run.config.crop.hu_range} HU to -1 and 1")


def _write_colipri(run: Run, method: ColipriMethod, out: Path | None) -> None:
    """Write weights and tokeniser."""
    from lingula.exchange import save_colipri
    from lingula.exchange.colipri_export import colipri_of

    target = out or run.path / "colipri.safetensors"
    storing = run.storing
    seen = {"orientation": storing.orientation, "spacing": storing.spacing, "hu_range": run.config.crop.hu_range}
    save_colipri(colipri_of(method, run.config.crop.shape), target, seen)
    tokeniser = target.with_suffix(".tokenizer.json")
    method.text_encoder.tokeniser.backend_tokenizer.save(str(tokeniser))
    print(f"{target}: for colipri.get_model and lingula.load; texts are read with {tokeniser}")


def _write_nnunet(run: Run, method: ColipriMethod, out: Path | None) -> None:
    """Write the volume encoder."""
    import numpy as np

    from lingula.exchange.nnunet import save_nnunet

    target, spacing = out or run.path / "nnunet.pth", run.storing.spacing
    x, y, z = (0.0, 0.0, 0.0) if spacing is None else np.broadcast_to(spacing, 3).tolist()
    known = None if spacing is None else (x, y, z)
    save_nnunet(method.image_encoder.backbone, target, run.config.crop.shape, known, run.storing.orientation)
    print(
        f"{target}: for nnUNetv2_preprocess_like_nnssl -pc {target} and nnUNetv2_train_pretrained -tr PretrainedTrainer_Primusx"
    )
    print("nnU-Net z-scores each volume and turns none: its files must have the orientation below.")
