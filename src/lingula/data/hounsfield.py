"""Whether the values of a CT are Hounsfield units: slope and intercept applied once, not twice and not never."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped

from lingula.core.errors import UserError

AIR = (-1100.0, -600.0)
"""Air around the patient and in the lungs, HU."""
TISSUE = (-150.0, 250.0)
"""Fat, muscle, blood and organs, HU."""
LEAST = 0.02
"""Share of the voxels that each of the two must have; in the chest each has a fifth or more."""
INTERCEPT = 1024.0
"""What nearly all scanners subtract, HU."""
SAMPLES = 64
"""How many voxels along each axis are looked at, at least, where there are as many."""


def check_hounsfield(voxels: Shaped[np.ndarray, "x y z"]) -> None:
    """Check that a chest CT has air and soft tissue where Hounsfield units put them.

    Raises:
        UserError: It has not; the remedy says whether adding or subtracting the usual intercept would mend it.
    """
    looked = voxels[tuple(slice(None, None, max(1, side // SAMPLES)) for side in voxels.shape)].astype(np.float32)
    if _fits(looked):
        return
    air, tissue = (f"{_share(looked, span):.1%} between {span[0]:g} and {span[1]:g} (" for span in (AIR, TISSUE))
    problem = (
        f"values from {looked.min():g} to {looked.max():g} are no Hounsfield units of a chest: {air}air), {tissue}soft tissue)"
    )
    if _fits(looked + INTERCEPT):
        remedy = "They fit after adding 1024: the intercept was applied twice."
    elif _fits(looked - INTERCEPT):
        remedy = "They fit after subtracting 1024: the intercept was not applied."
    else:
        remedy = "Apply slope and intercept once; of something else than a chest CT, set check_hounsfield=False."
    raise UserError(problem, remedy)


def _fits(values: np.ndarray) -> bool:
    return min(_share(values, AIR), _share(values, TISSUE)) >= LEAST


def _share(values: np.ndarray, span: tuple[float, float]) -> float:
    return float(((values >= span[0]) & (values <= span[1])).mean())
