"""Objectives: pure functions of tensors, computed in fp32 whatever the precision of their inputs (float64 stays float64)."""

from __future__ import annotations

from lingula.objectives.alignment import alignment_loss
from lingula.objectives.contrastive import contrastive_loss
from lingula.objectives.orthogonality import effective_rank, orthogonality_floor, orthogonality_loss

__all__ = ["alignment_loss", "contrastive_loss", "effective_rank", "orthogonality_floor", "orthogonality_loss"]
