"""A decoder on a volume encoder: built from what a model gives away, and asked for masks of whole volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.types import RowNumbers, Volumes
from lingula.data.volume_crop import VolumeCrop
from lingula.evaluation.arrays import ImageScores, PerFinding
from lingula.evaluation.segment_config import EncoderName
from lingula.evaluation.segmentation_scores import THRESHOLDS, PixelCounts
from lingula.evaluation.segmenter import threshold_counts
from lingula.evaluation.surface_scores import surface_dice
from lingula.evaluation.volume_encoder import VolumeTrainable
from lingula.evaluation.volume_segment_config import HeadName, VolumeSegmentConfig
from lingula.evaluation.volume_truth import Sides, VolumeTruth
from lingula.models.volume_decoder import LightVolumeDecoder, LinearVolumeDecoder, UnetVolumeDecoder
from lingula.models.volume_encoder import VolumeEncoder


class VolumeSegmenter(nn.Module):
    """Encoder and decoder.

    Args:
        encoder: Volumes to tokens.
        decoder: One map per finding.
        frozen: Whether the encoder gets no gradient and stays in evaluation mode.
    """

    def __init__(self, encoder: VolumeEncoder, decoder: nn.Module, frozen: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.frozen = encoder, decoder, frozen
        encoder.requires_grad_(not frozen)

    def forward(self, volumes: Volumes) -> Float[Tensor, "batch findings x y z"]:
        """Return logits of the volumes' size."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            tokens = self.encoder(volumes)
        logits: Tensor = self.decoder(volumes, tokens)
        return logits

    def train(self, mode: bool = True) -> VolumeSegmenter:
        """Switch to training or evaluation; a frozen encoder does not follow."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


@dataclass(frozen=True)
class WholeVolumes:
    """How whole volumes are read and predicted.

    Args:
        crop: Hounsfield range.
        size: Voxels of a window.
        config: Overlap, windows at once, tolerance.
    """

    crop: VolumeCrop
    size: Sides
    config: VolumeSegmentConfig

    def predict(self, network: VolumeSegmenter, truth: VolumeTruth, row: int) -> Float[Tensor, "findings x y z"]:
        """Predict probabilities of a whole volume, on its own voxels, in overlapping windows; on the CPU.

        A volume that is smaller than a window stands in its middle, with its own minimum about it, as in training.
        """
        from monai.inferers import sliding_window_inference

        voxels = self.crop.read_at(truth.store, row, (0, 0, 0), truth.store.shape(row))
        with torch.inference_mode():
            logits = sliding_window_inference(
                torch.from_numpy(voxels)[None, None],
                self.size,
                self.config.windows,
                network.eval(),
                overlap=self.config.overlap,
                mode="gaussian",
                cval=float(voxels.min()),
                sw_device=network.device,
                device=torch.device("cpu"),
            )
        assert isinstance(logits, Tensor), "the network gives one map"
        return logits[0].float().sigmoid()

    def count(
        self, network: VolumeSegmenter, truth: VolumeTruth, rows: RowNumbers, thresholds: PerFinding | None = None
    ) -> tuple[PixelCounts, ImageScores]:
        """Predict some volumes and count voxels at every threshold.

        Args:
            network: The segmenter.
            truth: The masks.
            rows: Which volumes.
            thresholds: One per finding, at which surfaces are compared; None: they are not.

        Returns:
            Counts, and the surface Dice, `volumes findings`: NaN where the finding is not or surfaces are not compared.
        """
        shape = len(rows), len(truth.findings)
        found, surfaces = np.full((3, *shape, len(THRESHOLDS)), np.nan), np.full(shape, np.nan)
        for place, row in enumerate(map(int, rows)):
            chances = self.predict(network, truth, row)
            found[:, place] = _counts(truth, row, chances)
            if thresholds is None:
                continue
            for column in np.flatnonzero(truth.outlined[row]).tolist():
                mask = chances[column].numpy() > thresholds[column]
                known = truth.whole(row, column), truth.store.spacing(row)
                surfaces[place, column] = surface_dice(mask, *known, self.config.tolerance)
        areas = np.array([math.prod(truth.store.shape(int(row))) for row in rows], float)
        return PixelCounts(found[2, :, :, 0], found[0], found[1], areas), surfaces


def build_volume_segmenter(
    given: VolumeTrainable, findings: int, config: VolumeSegmentConfig, encoder: EncoderName, head: HeadName
) -> VolumeSegmenter:
    """Build a decoder on a copy of an encoder; new weights come from torch's global generator.

    Args:
        given: The encoder; used, not copied.
        findings: Maps that come out.
        config: Width of the decoder.
        encoder: Frozen or fine-tuned.
        head: Which decoder.
    """
    network = given.encoder
    decoder = _build_decoder(head, (network.dimension, findings, network.config.patch), config.width, network.config.channels)
    device = next(network.parameters()).device
    return VolumeSegmenter(network, decoder.to(device), encoder == "frozen")


def _build_decoder(head: HeadName, sizes: tuple[int, int, tuple[int, int, int]], width: int, channels: int) -> nn.Module:
    if head == "linear":
        return LinearVolumeDecoder(*sizes)
    return LightVolumeDecoder(*sizes, width) if head == "light" else UnetVolumeDecoder(*sizes, width, channels)


def _counts(truth: VolumeTruth, row: int, chances: Float[Tensor, "findings x y z"]) -> np.ndarray:
    """Count voxels of one volume at every threshold, `3 findings thresholds`; NaN where the truth is unknown."""
    counts = np.full((3, len(chances), len(THRESHOLDS)), np.nan)
    for column in np.flatnonzero(truth.known[row]):
        inside = torch.from_numpy(truth.whole(row, int(column))).flatten()[None, None]
        counts[:, column] = threshold_counts(chances[column].flatten()[None, None], inside)[:, 0, 0]
    return counts
