"""How reports are varied in training; importing it imports nothing heavy."""

from __future__ import annotations

from pydantic import Field

from lingula.core.config import Config


class ReportAugmentConfig(Config):
    """Probabilities with which a report is varied; that COLIPRI shuffles and shortens is published, how often is not: ours."""

    short_sentence: float = Field(default=0.5, ge=0, le=1)
    """One short statement instead of the report, positive or negative with equal chance; prompts are short too."""
    section_shuffle: float = Field(default=0.5, ge=0, le=1)
    """Sentences are gathered by part of the body, and the parts put in another order."""
    sentence_shuffle: float = Field(default=0.5, ge=0, le=1)
    """Sentences are gathered by part of the body, and put in another order within each."""
