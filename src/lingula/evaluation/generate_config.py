"""The numbers of report generation; nothing heavy is imported. All of them are ours: COLIPRI's are not known."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lingula.core.config import Config

WayName = Literal["greedy", "beam", "sample"]
LabellerName = Literal["14", "18"]


class GenerateConfig(Config):
    """How reports are written about volumes, and what reads them."""

    way: tuple[WayName, ...] = ("greedy",)
    """The likeliest next word each time, the best report of a beam, or words drawn at random; each is a setting of its own."""
    beams: int = Field(default=4, ge=1)
    """Unfinished reports that a beam holds."""
    length_penalty: float = Field(default=1.0, ge=0)
    """The reports of a beam are ranked by log probability / words ** length_penalty."""
    temperature: float = Field(default=0.7, gt=0)
    """By what logits are divided before words are drawn."""
    top_p: float = Field(default=0.9, gt=0, le=1)
    """Words are drawn among the likeliest that together have this probability."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Longest report, in tokens; nothing: what the decoder has places for."""
    batch: int = Field(default=8, ge=1)
    """Volumes written about at once."""
    labeller: LabellerName | None = None
    """Findings that clinical F1 reads by rules: the 14 of CheXpert, the 18 of CT-RATE; nothing: 14 for the phantom, else 18."""
    scorer: tuple[str, ...] = ()
    """Scorers of your own, NAME=COMMAND, each in its own environment; see docs/how-to/report-scorers.md."""
    scorer_minutes: float = Field(default=120.0, gt=0)
    """How long a scorer may take."""
    pictures: int = Field(default=6, ge=0)
    """Volumes that are drawn with their reports."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.way or len(set(self.way)) < len(self.way):
            raise ValueError("way names each way once, and at least one")
        names = [text.partition("=")[0] for text in self.scorer]
        if any(not name or not command.strip() for name, _, command in (text.partition("=") for text in self.scorer)):
            raise ValueError("a scorer reads NAME=COMMAND")
        if len(set(names)) < len(names):
            raise ValueError("two scorers have one name")
        return self
