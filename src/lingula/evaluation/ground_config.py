"""How grounding is measured; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lingula.core.config import Config


class GroundConfig(Config):
    """Grounding: which words ask for a region, and what happens to the map."""

    words: Literal["phrase", "prompt"] = "phrase"
    """`phrase`: the words of the report that name the region, and the finding's prompts where none are stored; `prompt`: the
    finding's prompts for every region."""
    kind: tuple[str, ...] = ()
    """Kinds of regions (anatomy, pathology, device) that count; none named: all."""
    smooth: float = Field(default=0.0, ge=0)
    """Standard deviation, in cells of the feature grid, of a Gaussian that smooths every map; BioViL has 1.5."""
    reference: int = Field(default=500, ge=0)
    """Training images whose mean map, place by place, is taken off in the settings named "centred" (ours), since what a place
    says of a phrase whatever the image can drown what this image says; 0: there are no such settings."""
    skip_sides: bool = False
    """Leave out what happens when the phrase's side is swapped and when the image is mirrored (it encodes images twice more)."""
    pictures: int = Field(default=4, ge=0)
    """Test images that are drawn with their maps."""
