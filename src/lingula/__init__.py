"""lingula: vision-language encoders for chest radiographs and chest CT.

>>> import lingula
>>> model = lingula.load("runs/demo")                                              # doctest: +SKIP
>>> model.predict("image.png", ["pleural effusion", "no pleural effusion"])        # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from lingula.inference import Model

__all__ = ["load"]


def load(path: str | Path, checkpoint: str = "best") -> Model:
    """Load a trained model with its own preprocessing and text encoder.

    Args:
        path: A run folder, or a folder of compared runs (then its default run).
        checkpoint: `best` (by validation), `last` or `initial`.

    Raises:
        UserError: The path is not a run, or the run has no such checkpoint.
    """
    from lingula.inference import Model

    return Model.load(path, checkpoint)
