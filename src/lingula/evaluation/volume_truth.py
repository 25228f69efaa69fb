"""The masks of CT volumes as a segmenter learns and is scored on them: crops, where findings lie in them, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lingula.core.randomness import keyed_uniforms, random_generator
from lingula.core.types import RowNumbers, VolumeMask, Volumes
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.segmentation_truth import KnownPlaces

Sides: TypeAlias = tuple[int, int, int]
VolumeMaskStack: TypeAlias = Bool[np.ndarray, "findings x y z"]
Voxels: TypeAlias = Int[np.ndarray, "voxels 3"]
CropBatch: TypeAlias = tuple[Volumes, Float[Tensor, "batch findings x y z"], Bool[Tensor, "batch findings"]]

REMEMBERED = 512
"""Voxels of a finding in a volume that crops are placed about, evenly spaced among all of them."""


@dataclass(frozen=True)
class VolumeTruth(KnownPlaces):
    """Where findings lie in CT volumes.

    Args:
        store: The store.
    """

    store: VolumeStore
    _remembered: dict[tuple[int, int], Voxels] = field(default_factory=dict)

    def masks(
        self, row: int, crop: VolumeCrop, start: Sequence[int], size: Sides, key: tuple[int | str, ...] | None = None
    ) -> VolumeMaskStack:
        """Return one mask per finding as `VolumeCrop.read_at` shows the volume; regions of one finding are joined."""
        stack = np.zeros((len(self.findings), *size), dtype=bool)
        for number, region in enumerate(self.store.regions(row)):
            if region.finding in self.findings and region.has_mask:
                mask = crop.mask_at(self.store, row, number, start, size, key)
                assert mask is not None, "the region has a mask"
                stack[self.findings.index(region.finding)] |= mask
        return stack

    def whole(self, row: int, place: int) -> VolumeMask:
        """Return the mask of one finding in a whole volume, `x y z`."""
        whole = np.zeros(self.store.shape(row), dtype=bool)
        for number, region in enumerate(self.store.regions(row)):
            if region.finding == self.findings[place] and region.has_mask:
                whole |= self.store.mask(row, number)
        return whole

    def foreground(self, row: int, place: int) -> Voxels:
        """Return voxels of one finding in a volume, at most `REMEMBERED` of them."""
        key = row, place
        if key not in self._remembered:
            voxels = np.argwhere(self.whole(row, place))
            chosen = np.linspace(0, len(voxels) - 1, min(len(voxels), REMEMBERED)).astype(int)
            self._remembered[key] = voxels[chosen]
        return self._remembered[key]

    def place(self, row: int, size: Sides, foreground: float, key: tuple[int | str, ...]) -> list[int]:
        """Draw where a crop begins: with a share of `foreground` so that it holds a voxel of a finding, else anywhere.

        Of the findings that are outlined in the volume one is drawn, then one of its voxels, then where in the crop that lies,
        all evenly; a crop is moved so that it does not leave the volume. Along an axis that is too short the volume is in the
        middle.

        Args:
            row: Which volume.
            size: Voxels of the crop.
            foreground: Share of the draws that aim at a finding.
            key: What the draw depends on, and on nothing else.
        """
        draw = keyed_uniforms(6, *key, "place")
        room = np.array(self.store.shape(row)) - np.array(size)
        there = np.flatnonzero(self.outlined[row])
        start = np.floor(draw[3:] * (np.maximum(room, 0) + 1)).astype(int)
        if draw[0] < foreground and len(there):
            voxels = self.foreground(row, int(there[int(draw[1] * len(there))]))
            if len(voxels):
                start = voxels[int(draw[2] * len(voxels))] - np.floor(draw[3:] * np.array(size)).astype(int)
        placed = np.where(room < 0, -(-room // 2), np.clip(start, 0, np.maximum(room, 0)))
        chosen: list[int] = placed.tolist()
        return chosen

    def batches(
        self, crop: VolumeCrop, size: Sides, rows: RowNumbers, batch: int, foreground: float, augment: bool, seed: int
    ) -> Iterator[CropBatch]:
        """Yield crops, masks and what of them is known, for ever, of every volume once per epoch; an incomplete batch is dropped.

        Args:
            crop: Hounsfield range, and the variation of pre-training.
            size: Voxels of a crop.
            rows: Volumes to learn from.
            batch: Crops, at most.
            foreground: Share of the crops that aim at a finding.
            augment: Whether crops vary as in pre-training.
            seed: Decides order, places and variation.
        """
        count, ids, epoch = min(batch, len(rows)), self.store.column("row_id"), 0
        while True:
            order = random_generator("segment", seed, epoch).permutation(rows)
            for first in range(0, len(order) - count + 1, count):
                chosen = [int(row) for row in order[first : first + count]]
                volumes, masks = [], []
                for row in chosen:
                    key = (seed, epoch, str(ids[row]))
                    start, vary = self.place(row, size, foreground, key), key if augment else None
                    volumes.append(crop.read_at(self.store, row, start, size, vary))
                    masks.append(self.masks(row, crop, start, size, vary))
                found = torch.from_numpy(np.stack(volumes))[:, None], torch.from_numpy(np.stack(masks)).float()
                yield *found, torch.from_numpy(self.known[chosen])
            epoch += 1
