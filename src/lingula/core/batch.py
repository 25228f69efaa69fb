"""What flows from the loader to a method: one batch of studies."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from lingula.core.types import FindingLabels, Groups, Images, SlotLabels, TextFeatures, TokenIds, TokenMask, Volumes


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts, padded to the longest of the batch.

    Args:
        ids: `batch tokens`, integer; with several texts per sample their axes stand between.
        mask: Of the same shape, True where a token is real and False where it is padding.
    """

    ids: TokenIds
    mask: TokenMask

    def to(self, device: torch.device) -> Tokens:
        """Copy to a device."""
        return Tokens(self.ids.to(device, non_blocking=True), self.mask.to(device, non_blocking=True))

    def __getitem__(self, rows: slice | Tensor) -> Tokens:
        return Tokens(self.ids[rows], self.mask[rows])

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Batch:
    """One batch; every present field has the same leading axis `batch`.

    Args:
        study_ids: Which studies these are (for error messages and logs).
        images: `batch channels height width`, normalised, or `batch channels x y z` in [-1, 1]; absent in the global batch that
            `losses` sees.
        texts: The text view of each sample.
        groups: `batch`; equal numbers carry the same text.
        tokens: Tokenised texts, where the text encoder is trained.
        text_features: `batch text_features`, where the text encoder is frozen and its outputs are cached.
        labels: `batch findings`; 1 present, 0 absent, NaN unknown.
        keys: One number per sample, for what a method draws of it, e.g. of (seed, epoch, sample).
        report: The whole report of each sample, for a method that learns to write it.
        opposites: `batch slots 2 tokens`, short statements and their opposites, for a method that tells them apart.
        opposite_labels: `batch slots`; 1 the statement is true, 0 its opposite is, -1 the slot is empty.
    """

    study_ids: list[str] = field(default_factory=list)
    images: Images | Volumes | None = None
    texts: list[str] | None = None
    groups: Groups | None = None
    tokens: Tokens | None = None
    text_features: TextFeatures | None = None
    labels: FindingLabels | None = None
    keys: list[int] | None = None
    report: Tokens | None = None
    opposites: Tokens | None = None
    opposite_labels: SlotLabels | None = None

    def __len__(self) -> int:
        return len(self.study_ids)

    def to(self, device: torch.device) -> Batch:
        """Copy every tensor to a device."""
        moved: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in moved.items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device, non_blocking=True)
            elif isinstance(value, Tokens):
                moved[name] = value.to(device)
        return Batch(**moved)

    def __getitem__(self, rows: slice) -> Batch:
        """Cut a micro-batch."""
        cut: dict[str, Any] = {f.name: None if (value := getattr(self, f.name)) is None else value[rows] for f in fields(self)}
        return Batch(**cut)

    def without_pixels(self) -> Batch:
        """The same batch without its images and tokens: what `Method.losses` may look at."""
        return replace(self, images=None, tokens=None, report=None, opposites=None)
