"""lingula: vision-language encoders for chest radiographs and chest CT.

>>> import lingula
>>> model = lingula.load("runs/demo")                                              # doctest: +SKIP
>>> model.predict("image.png", ["pleural effusion", "no pleural effusion"])        # doctest: +SKIP
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lingula.evaluation.config import SeenOfVolumes
    from lingula.exchange import Colipri
    from lingula.inference import Model, VolumeModel

__all__ = ["load"]


WEIGHTS = (".safetensors", ".pth", ".pt")


def load(path: str | Path, checkpoint: str = "best", seen: SeenOfVolumes | None = None) -> Model | VolumeModel | Colipri:
    """Load a trained model: of a run with its own preprocessing and text encoder, of a colipri file its two encoders.

    Args:
        path: A run folder, a folder of compared runs (then its default run), or a file of colipri's weights (.safetensors, .pth
            or .pt), which goes to `lingula.exchange.load_colipri`.
        checkpoint: `best` (by validation), `last` or `initial`, of a run.
        seen: Of a run of CT volumes: what is shown of them, `whole`, `windows` or `centre`; None: what it validated with.

    Raises:
        UserError: The path is neither, the run has no such checkpoint or is of radiographs where `seen` is given, the weights do
            not fit, or a checkpoint of a file is asked for.
    """
    if str(path).endswith(WEIGHTS) and not os.path.isdir(path):
        return _load_file(path, checkpoint, seen)
    from lingula.inference import load_model

    return load_model(path, checkpoint, seen)


def _load_file(path: str | Path, checkpoint: str, seen: SeenOfVolumes | None) -> Colipri:
    from lingula.core.errors import UserError
    from lingula.exchange import load_colipri

    if checkpoint != "best":
        raise UserError(f"{path} is a file and has no {checkpoint} checkpoint", "Give the folder of a run, or no checkpoint.")
    if seen is not None:
        problem = f"{path} is a file, whose model is shown what it is given"
        raise UserError(problem, "Give the volumes to be seen, or make a run of it: lingula convert --from colipri.")
    return load_colipri(path)
