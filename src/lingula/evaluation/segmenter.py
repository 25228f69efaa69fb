"""A U-Net on an encoder: built from what a method gives away, and asked for masks."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.types import Images, RowNumbers
from lingula.data.augment import ImageTransform
from lingula.evaluation.encoder import DenseTrainable
from lingula.evaluation.segment_config import DecoderName, EncoderName, SegmentConfig
from lingula.evaluation.segmentation_scores import THRESHOLDS, PixelCounts
from lingula.evaluation.segmentation_truth import SegmentationTruth
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.unet_decoder import UnetDecoder
from lingula.objectives.segmentation import ClassMaps

AT_ONCE = 32
"""Images scored at once."""


class Segmenter(nn.Module):
    """Encoder and decoder.

    Args:
        encoder: Has a feature pyramid.
        decoder: One map per finding.
        frozen: Whether the encoder gets no gradient.
        still: Whether a frozen encoder stays in evaluation mode; else its batch norms take the batch's statistics in training
            and their running ones move on, as in MGCA's code.
    """

    def __init__(self, encoder: RadiographEncoder, decoder: UnetDecoder, frozen: bool, still: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.frozen, self.still = encoder, decoder, frozen, still
        encoder.requires_grad_(not frozen)

    def forward(self, images: Images) -> ClassMaps:
        """Return logits of the images' size, `batch findings height width`."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            _, levels = self.encoder.pyramid(images)
        logits: Tensor = self.decoder(images, levels)
        return logits

    def train(self, mode: bool = True) -> Segmenter:
        """Switch to training or evaluation; a frozen encoder that is to stay still does not follow."""
        super().train(mode)
        if self.frozen and self.still:
            self.encoder.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device


def build_segmenter(
    given: DenseTrainable, findings: int, config: SegmentConfig, encoder: EncoderName, decoder: DecoderName
) -> Segmenter:
    """Build a U-Net on a copy of an encoder; new weights come from torch's global generator.

    A pre-trained decoder keeps its last convolution only where it already gives as many maps as there are findings. A random
    one has the widths of the pre-trained one, where there is one, so that the two differ in nothing but the weights.

    Args:
        given: Encoder, decoder and transform; they are used, not copied.
        findings: Maps that come out.
        config: Widths of the decoder, batch norm of the encoder.
        encoder: Frozen or fine-tuned.
        decoder: Random or pre-trained.

    Raises:
        UserError: There is no pre-trained decoder, the encoder has no pyramid, or decoder and encoder do not fit each other.
    """
    network, own = given.encoder, given.decoder
    if decoder == "pre-trained":
        if own is None:
            raise UserError("the method has no pre-trained decoder", "Choose --segment.decoder random.")
        blocks = own if _maps(own) == findings else own.with_classes(findings)
    elif own is not None and not config.channels:
        blocks = _afresh(copy.deepcopy(own).with_classes(findings))
    else:
        levels = network.pyramid_channels
        if config.channels and len(config.channels) != len(levels):
            remedy = f"--segment.channels needs {len(levels)} numbers."
            raise UserError(f"{len(config.channels)} widths of the decoder for an encoder of {len(levels)} levels", remedy)
        blocks = UnetDecoder(levels, findings, config.channels or None)
    device = next(network.parameters()).device
    built = Segmenter(network, blocks.to(device), encoder == "frozen", config.batch_norm == "still")
    _check_fit(built, given.transform.image_size)
    return built


def batches_of_truth(
    truth: SegmentationTruth, transform: ImageTransform, rows: RowNumbers, size: int
) -> Iterator[tuple[Images, ClassMaps, Tensor]]:
    """Yield images, masks and what of them is known, in the model's view, in order, without augmentation."""
    for start in range(0, len(rows), size):
        chosen = [int(row) for row in rows[start : start + size]]
        images = transform.evaluate([truth.store.pixels(row) for row in chosen])
        masks = transform.evaluate_masks([truth.masks(row) for row in chosen])
        yield images, masks, torch.from_numpy(truth.known[chosen])


def count_pixels(network: Segmenter, truth: SegmentationTruth, transform: ImageTransform, rows: RowNumbers) -> PixelCounts:
    """Predict some rows in evaluation mode and count pixels at every threshold."""
    network.eval()
    levels = len(THRESHOLDS)
    counts = np.full((3, len(rows), len(truth.findings), levels), np.nan)
    done = 0
    with torch.inference_mode():
        for images, masks, known in batches_of_truth(truth, transform, rows, AT_ONCE):
            chances = network(placed(images, network)).float().sigmoid().flatten(2)
            found = threshold_counts(chances, masks.to(network.device).flatten(2) > 0)
            counts[:, done : done + len(images)] = np.where(known.numpy()[:, :, None], found, np.nan)
            done += len(images)
    return PixelCounts(counts[2, :, :, 0], counts[0], counts[1], transform.image_size**2)


def placed(images: Images, network: Segmenter) -> Images:
    """Bring images to where the network is."""
    return images.to(network.device, memory_format=torch.channels_last)


def threshold_counts(chances: Tensor, inside: Tensor) -> np.ndarray:
    """Count predicted pixels, those of them inside, and those inside, `3 images findings thresholds`, from one pass.

    Args:
        chances: `images findings pixels`, 0 to 1.
        inside: The same shape, where the finding truly is.
    """
    images, findings = chances.shape[:2]
    edges = torch.tensor(THRESHOLDS, device=chances.device)
    bins = len(THRESHOLDS) + 1
    place = torch.bucketize(chances.contiguous(), edges)
    place += torch.arange(images * findings, device=chances.device).view(images, findings, 1) * bins
    per_bin = [torch.bincount(part, minlength=images * findings * bins) for part in (place.flatten(), place[inside])]
    above = [part.view(images, findings, bins).flip(2).cumsum(2).flip(2)[:, :, 1:] for part in per_bin]
    total = inside.sum(dim=2)[:, :, None].expand_as(above[0])
    return torch.stack([*above, total]).cpu().numpy()


def _maps(decoder: UnetDecoder) -> int:
    return int(cast(nn.Conv2d, decoder.segmentation_head[0]).out_channels)


def _afresh(decoder: UnetDecoder) -> UnetDecoder:
    """Draw all weights of a decoder anew."""
    for part in decoder.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()  # type: ignore[operator]
    return decoder


def _check_fit(network: Segmenter, side: int) -> None:
    """Run one black image through the network, without a trace."""
    network.eval()
    channels = network.encoder.channels
    try:
        with torch.inference_mode():
            shape = network(torch.zeros(1, channels, side, side, device=network.device)).shape[-2:]
    except RuntimeError as error:
        levels = ", ".join(map(str, network.encoder.pyramid_channels))
        problem = f"the decoder does not fit the encoder's levels of {levels} channels ({str(error).splitlines()[0]})"
        raise UserError(problem, "Choose --segment.decoder random with --segment.channels, or the run's own encoder.") from None
    if tuple(shape) != (side, side):
        problem = f"the decoder gives maps of {shape[0]} × {shape[1]} for images of {side} × {side}"
        raise UserError(problem, "Use a run whose image size is a multiple of the encoder's coarsest stride.")
