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

    from lingula.exchange import Colipri
    from lingula.inference import Model, VolumeModel

__all__ = ["load"]


WEIGHTS = (".safetensors", ".pth", ".pt")


def load(path: str | Path, checkpoint: str = "best") -> Model | VolumeModel | Colipri:
    """Load a trained model: of a run with its own preprocessing and text encoder, of a colipri file its two encoders.

    Args:
        path: A run folder, a folder of compared runs (then its default run), or a file of colipri's weights (.safetensors, .pth
            or .pt), which goes to `lingula.exchange.load_colipri`.
        checkpoint: `best` (by validation), `last` or `initial`, of a run.

    Raises:
        UserError: The path is neither, the run has no such checkpoint, the weights do not fit, or a checkpoint of a file is
            asked for.
    """
    if str(path).endswith(WEIGHTS) and not os.path.isdir(path):
        return _load_file(path, checkpoint)
    from lingula.inference import load_model

    return load_model(path, checkpoint)


def _load_file(path: str | Path, checkpoint: str) -> Colipri:
    from lingula.core.errors import UserError
    from lingula.exchange import load_colipri

    if checkpoint != "best":
        raise UserError(f"{path} is a file and has no {checkpoint} checkpoint", "Give the folder of a run, or no checkpoint.")
    return load_colipri(path)
