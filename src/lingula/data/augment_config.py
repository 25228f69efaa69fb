"""How pixels become what a model sees; free of torch, because the command line reads it."""

from __future__ import annotations

from pydantic import Field

from lingula.core.config import Config


class AugmentConfig(Config):
    """Training and inference transform of a radiograph. No flips: left and right matter in a chest."""

    rotation: float = Field(default=10.0, ge=0, le=180)
    """Largest rotation in training, degrees to either side."""
    translation: float = Field(default=0.05, ge=0, le=0.5)
    """Largest shift in training along each axis, as a share of the side."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Smallest and largest magnification in training."""
    brightness: float = Field(default=0.1, ge=0, le=1)
    """Largest addition to the grey values (which run from 0 to 1) in training, to either side."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Largest relative change of contrast about mid-grey in training, to either side."""
    gamma: float = Field(default=0.2, ge=0)
    """Grey values are raised to a power between 1 / (1 + gamma) and 1 + gamma in training."""
    erasing: float = Field(default=0.0, ge=0, le=1)
    """Probability that one random rectangle of a training image is blanked."""
    crop: float = Field(default=1.0, gt=0, le=1)
    """Share of the side that the centre crop keeps; training varies position and scale about the same crop."""
    mean: float = 0.5
    """Subtracted from the grey values (0 to 1)."""
    std: float = Field(default=0.25, gt=0)
    """Divides the grey values after the subtraction."""
