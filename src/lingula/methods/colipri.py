"""COLIPRI (arXiv 2510.15042): chest CT and reports in one space, with report generation, masked volumes and opposite sentences.

The training code was never published; see docs/concepts/colipri.md for what is known and what is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lingula.core.batch import Batch, Tokens
from lingula.core.errors import UserError
from lingula.core.types import ImageFeatures, Latents, Scalar, TextFeatures, VolumeGrid, Volumes
from lingula.methods.base import Embeddings, Losses, Method
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.models.masked_decoder import MaskedDecoder
from lingula.models.report_decoder import ReportDecoder
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_tower import TextTower
from lingula.models.volume_encoder import VolumeEncoder
from lingula.models.volume_tower import VolumeTower
from lingula.objectives import (
    contrastive_loss,
    effective_rank,
    hidden_patches,
    kept_patches,
    masked_image_error,
    opposite_margins,
    opposite_sentence_loss,
    report_errors,
)
from lingula.objectives.precision import unit_vectors

MASKED, REPORT, WORDS, MARGINS = "masked", "report", "report_words", "opposite_margins"


class ColipriMethod(Method):
    """Volume tower and text tower, both trained, and a decoder for each of R and M.

    What needs voxels or tokens (R, M, opposite sentences) is computed in `encode`, volume by volume; `losses` contrasts the
    pooled vectors over the global batch and averages the rest. A batch without text is for M alone.

    Args:
        config: Encoder, decoders, weights.
        text_encoder: Not frozen; its width is the shared space, its vocabulary that of the reports that are written.

    Raises:
        UserError: The text encoder is frozen, or pooling heads do not divide its width.
    """

    image_encoder: VolumeTower  # type: ignore[assignment]

    def __init__(self, config: ColipriMethodConfig, text_encoder: TextEncoder) -> None:
        super().__init__()
        self.config, self.text_encoder = config, TextTower(text_encoder, config.text_pooler_heads)
        encoder, latent = VolumeEncoder(config.volume_encoder), self.text_encoder.dimension
        self.image_encoder = VolumeTower(encoder, latent, config.image_pooler_heads)
        self.report_decoder: ReportDecoder | None = None
        self.masked_decoder: MaskedDecoder | None = None
        if config.report_weight:
            self.report_decoder = ReportDecoder(config.report_decoder, self.text_encoder.words, encoder.dimension)
        if config.masked_weight:
            self.masked_decoder = MaskedDecoder(config.volume_encoder, config.masked_decoder_blocks, config.masked_decoder_width)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    @property
    def rests_parts(self) -> bool:
        """Everything but the volume encoder and M's decoder rests where a batch has no text."""
        return True

    def towers(self) -> list[nn.Module]:
        """Decoders too: they see the tokens of this process's volumes alone."""
        parts = [self.image_encoder, self.text_encoder, self.report_decoder, self.masked_decoder]
        return [part for part in parts if part is not None]

    def encode(self, batch: Batch) -> Embeddings:
        """Pooled volumes and texts, and what M, R and the opposite sentences give for each volume.

        Raises:
            UserError: A batch without text where there is no M, or volumes that the patch does not divide.
            ValueError: The batch lacks what an objective reads.
        """
        if batch.images is None:
            raise ValueError("the batch has no images")
        per_image = {} if self.masked_decoder is None else {MASKED: self._masked(self.masked_decoder, batch.images, batch.keys)}
        if batch.tokens is None:
            if not per_image:
                problem = "volumes without text reached COLIPRI without masked-image modelling, which learns from pairs alone"
                raise UserError(problem, "Leave these volumes out, or choose --preset cm or crm.")
            return Embeddings(batch.images.new_zeros(len(batch), 1), None, per_image)
        features = self.image_encoder.features(batch.images)
        pooled = self.image_encoder.pooled(features)
        if self.report_decoder is not None:
            per_image |= self._reported(self.report_decoder, features, batch.report)
        if self.config.opposite_weight:
            per_image[MARGINS] = self._margins(pooled, batch)
        return Embeddings(pooled, self.text_encoder(batch.tokens), per_image)

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        """The contrast over the global batch, and the means over it of what `encode` computed volume by volume."""
        config, each = self.config, embeddings.per_image
        terms: dict[str, Scalar] = {}
        logged: dict[str, float | Tensor] = {}
        if embeddings.text is not None:
            temperature, image = self._bounded_temperature(), embeddings.image
            groups, positives = batch.groups, config.positives
            if positives == "one":
                groups, positives = None, "share"
            terms["contrastive"] = contrastive_loss(image, embeddings.text, temperature, groups, positives)
            logged = {"temperature": temperature.detach(), "effective_rank": effective_rank(image.detach())}
            if MARGINS in each and batch.opposite_labels is not None:
                terms["opposite"] = opposite_sentence_loss(each[MARGINS], batch.opposite_labels, temperature)
                logged["opposite_slots"] = (batch.opposite_labels >= 0).float().mean()
            if REPORT in each:
                terms["report"] = each[REPORT].sum() / each[WORDS].sum().clamp_min(1)
        if MASKED in each:
            terms["masked"] = each[MASKED].mean()
        best_by = tuple(term for term in config.best_by if term in terms)
        return Losses(terms, {name: getattr(config, f"{name}_weight") for name in terms}, logged, best_by)

    def _masked(self, decoder: MaskedDecoder, volumes: Volumes, keys: list[int] | None) -> Tensor:
        """Error on the hidden patches of each volume; the encoder runs on the others alone."""
        if keys is None:
            raise ValueError("the batch has no keys, from which masks are drawn")
        backbone = self.image_encoder.backbone
        grid = backbone.grid(volumes)
        kept = kept_patches(keys, math.prod(grid), self.config.masked_share, volumes.device)
        hidden = hidden_patches(kept, math.prod(grid))
        predicted = decoder(self.image_encoder.visible(volumes, kept), kept, hidden, grid)
        return masked_image_error(predicted, volumes, hidden, backbone.config.patch)

    def _reported(self, decoder: ReportDecoder, features: VolumeGrid, report: Tokens | None) -> dict[str, Tensor]:
        """Sum of the errors of each report's words, and their number."""
        if report is None:
            raise ValueError("the batch has no reports to generate")
        logits = decoder(report.ids, features.flatten(2).transpose(1, 2))
        sums, counts = report_errors(logits, report, self.config.label_smoothing)
        return {REPORT: sums, WORDS: counts}

    def _margins(self, pooled: ImageFeatures, batch: Batch) -> Tensor:
        """How much nearer each volume is to each of its statements than to the opposite, `batch slots`.

        Empty slots cost nothing and hold 0. Where all are empty, one is encoded still, and not used: every process must run the
        text tower equally often.
        """
        if batch.opposites is None or batch.opposite_labels is None:
            raise ValueError("the batch has no opposite sentences")
        given = batch.opposite_labels >= 0
        given[0, 0] |= ~given.any()
        pairs = batch.opposites[given]
        sentences = self.text_encoder(Tokens(pairs.ids.flatten(0, 1), pairs.mask.flatten(0, 1))).unflatten(0, (-1, 2))
        found = opposite_margins(pooled[given.nonzero()[:, 0]], sentences[:, :1], sentences[:, 1:])
        return torch.zeros(given.shape, device=found.device, dtype=found.dtype).masked_scatter(given, found[:, 0])

    def _bounded_temperature(self) -> Scalar:
        """The learned temperature; the parameter itself is kept above its bound, so that its gradient never dies there."""
        with torch.no_grad():
            self.log_temperature.clamp_(min=math.log(self.config.minimum_temperature))
        return self.log_temperature.exp()

    @property
    def temperature(self) -> float:
        """The learned temperature: by what similarities are divided before a softmax."""
        return max(self.log_temperature.exp().item(), self.config.minimum_temperature)

    def image_features(self, images: Volumes) -> ImageFeatures:
        """Mean of the encoder's tokens, before projection."""
        return self.image_encoder.features(images).mean(dim=(2, 3, 4))

    def features_and_latents(self, images: Volumes) -> tuple[ImageFeatures, Latents]:
        """Mean token, and the pooled vector in the shared space, L2-normalised."""
        return self.pooled_and_latents(self.image_encoder.features(images))

    def pooled_and_latents(self, features: VolumeGrid) -> tuple[ImageFeatures, Latents]:
        """The same from tokens that the encoder gave."""
        return features.mean(dim=(2, 3, 4)), unit_vectors(self.image_encoder.pooled(features))

    def encode_text(self, features: TextFeatures) -> Latents:
        """Text latents, L2-normalised, from what the text tower gives."""
        return unit_vectors(features)

    def dense_features(self, images: Volumes) -> VolumeGrid:
        """Each patch as if it were pooled alone, L2-normalised, `batch latent x y z`."""
        dense = self.image_encoder.dense(self.image_encoder.features(images))
        return unit_vectors(dense.movedim(1, -1)).movedim(-1, 1)
