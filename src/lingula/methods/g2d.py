"""G2D (NeurIPS 2024, arXiv 2312.01522): what the attention of a contrastive model looks at, a decoder learns to segment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.core.errors import UserError
from lingula.core.types import AttentionMaps, FeatureMap, ImageFeatures, Images, Latents, Scalar, TextFeatures
from lingula.methods.base import Embeddings, Losses, Method
from lingula.methods.g2d_config import G2DConfig
from lingula.models.attention_pool import AttentionPool2d
from lingula.models.position_projector import PositionProjector
from lingula.models.projectors import Projector
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.unet_decoder import UnetDecoder
from lingula.models.weighted_mean_pool import WeightedMeanPool
from lingula.objectives import contrastive_loss, dice_bce_of_each, effective_rank, pseudo_masks
from lingula.objectives.precision import full_precision, no_autocast, unit_vectors
from lingula.objectives.pseudo_masks import grey_of

if TYPE_CHECKING:
    from lingula.models.text_encoder import TextEncoder

DENSE, COUNTS = "dense", "dense_counts"


class G2D(Method):
    """Image encoder, head per cell, attention pooling and decoder; text encoder (frozen or not) and text head.

    Attention and decoder need the whole image, so everything of the image side runs in `encode`; `losses` contrasts the pooled
    latents over the global batch and averages the dense loss of each image (eq. 1, 4, 5).

    Args:
        config: Heads, temperature, dense term, masks.
        image_encoder: Has a feature pyramid; trained.
        image_size: Side of the images in pixels, which fixes the feature grid.
        text_dimension: Size of the text features.
        text_encoder: Where it is trained too; None where it is frozen.

    Raises:
        UserError: The encoder has no pyramid, the attention heads do not divide the width, or the text encoder's pooling does
            not fit.
    """

    def __init__(
        self,
        config: G2DConfig,
        image_encoder: RadiographEncoder,
        image_size: int,
        text_dimension: int,
        text_encoder: TextEncoder | None = None,
    ) -> None:
        super().__init__()
        self.config, self.image_encoder, self.text_encoder = config, image_encoder, text_encoder
        bare = config.text_head == "none"
        latent = text_dimension if bare else config.latent
        width = config.attention_width or latent
        features, rows = _grid_of(image_encoder, image_size)
        self.image_head, self.latent_head = None, None
        if config.pooling == "attention":
            self.image_head = PositionProjector(features, config.hidden, width)
            self.attention_pool: AttentionPool2d | WeightedMeanPool = AttentionPool2d(rows, width, config.heads, latent)
        else:
            self.attention_pool = WeightedMeanPool(rows, features, width, config.heads)
            self.latent_head = Projector("batch-norm-linear", image_encoder.dimension + config.heads * features, 1, latent)
        self.text_head = None if bare else PositionProjector(text_dimension, config.hidden, latent)
        masks = config.heads if config.mask.per_head and config.dense != "reconstruction" else 1
        channels = image_encoder.pyramid_channels
        self.decoder = None if config.dense == "none" else UnetDecoder(channels, masks, config.decoder_channels)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)), config.learn_temperature)
        self._dense_share = 1.0
        if text_encoder is not None and config.text_positions != "first" and text_encoder.pooling.kind != "cls":
            problem = f"G2D reads the first token of each text, but the text encoder pools by {text_encoder.pooling.kind}"
            raise UserError(problem, "Set text_encoder.pooling to cls, or method.text_positions to first.")

    def at_step(self, step: int, steps: int) -> None:
        """Leave the dense term out at first, then let it rise."""
        warmup, rise = (_in_steps(amount, steps) for amount in (self.config.dense_warmup, self.config.dense_rise))
        self._dense_share = min(max(step - warmup, 0) / rise, 1.0) if rise else float(step >= warmup)

    @property
    def _dense_weight(self) -> float:
        """Weight of the dense term at this step; at 0 the decoder gets no gradient at all.

        A gradient of zero would not do: AdamW would take it for a history of tiny gradients, and the first real ones would move
        the decoder several times as far as the learning rate says.
        """
        return self.config.dense_weight * (self._dense_share if self.training else 1.0)

    @property
    def rests_parts(self) -> bool:
        """The decoder rests until the dense term begins."""
        return self.decoder is not None and (
            self.config.dense_warmup > 0 or self.config.dense_rise > 0 or not self.config.dense_weight
        )

    def towers(self) -> list[nn.Module]:
        """Heads and decoder too: they see the cells and pixels of this process's images alone."""
        parts = [self.image_encoder, self.image_head, self.attention_pool, self.decoder, self.text_head, self.text_encoder]
        return [part for part in parts if part is not None]

    def encode(self, batch: Batch) -> Embeddings:
        """Pooled images, text latents, and the dense loss of each image.

        Raises:
            ValueError: The batch has no images, or not the text that this method reads.
        """
        if batch.images is None:
            raise ValueError("the batch has no images")
        last, pyramid = self.image_encoder.pyramid(batch.images)
        pooled, attention = self._pool(last)
        per_image = {}
        if self.decoder is not None:
            with torch.set_grad_enabled(torch.is_grad_enabled() and self._dense_weight > 0):
                each, counts = self._dense_loss(self.decoder(batch.images, pyramid), attention, batch.images)
            per_image = {DENSE: each, COUNTS: counts}
        return Embeddings(pooled, self._text_latents(batch), per_image)

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        """The contrastive term over the global batch, and the mean of the dense losses of the images that count."""
        if embeddings.text is None:
            raise ValueError("the embeddings have no text features")
        config, temperature = self.config, self._bounded_temperature()
        image = self._latents(embeddings.image)
        groups, positives = batch.groups, config.positives
        if positives == "one":
            groups, positives = None, "share"
        matched = contrastive_loss(image, embeddings.text, temperature, groups, positives, config.direction)
        terms, weights = {"contrastive": matched}, {"contrastive": config.contrastive_weight}
        logged: dict[str, float | Tensor] = {
            "temperature": temperature.detach(),
            "effective_rank": effective_rank(image.detach()),
        }
        if self.decoder is not None:
            each, counts = embeddings.per_image[DENSE], embeddings.per_image[COUNTS]
            terms[DENSE] = (each * counts).sum() / counts.sum().clamp_min(1)
            weights[DENSE] = self._dense_weight
            logged["images_with_mask"] = counts.mean().detach()
        return Losses(terms, weights, logged)

    def _pool(self, last: FeatureMap) -> tuple[ImageFeatures, AttentionMaps]:
        """The pooled vector, and the attention of each head on the grid."""
        pooled, attention = self.attention_pool(self._projected(last))
        if self.latent_head is not None:
            pooled = torch.cat([self.image_encoder.pool(last).to(pooled.dtype), pooled], dim=1)
        return pooled, attention[:, :, 1:].unflatten(2, last.shape[-2:])

    def _latents(self, pooled: ImageFeatures) -> Latents:
        """What is compared with texts, of pooled vectors or, in evaluation mode, of single cells; not normalised."""
        return pooled if self.latent_head is None else self.latent_head(pooled)

    def _cells_as_pooled(self, last: FeatureMap) -> FeatureMap:
        """What `_pool` would give for each cell alone."""
        dense = self.attention_pool.dense(self._projected(last))
        if self.latent_head is None:
            return dense
        alone = last.repeat(1, self.image_encoder.dimension // last.shape[1], 1, 1)
        return torch.cat([alone.to(dense.dtype), dense], dim=1)

    def _projected(self, last: FeatureMap) -> FeatureMap:
        """The head per cell, where there is one, `batch width rows columns`."""
        if self.image_head is None:
            return last
        batch, _, rows, columns = last.shape
        cells: Tensor = self.image_head(last.permute(0, 2, 3, 1).flatten(0, 2))
        return cells.reshape(batch, rows, columns, -1).permute(0, 3, 1, 2)

    def _dense_loss(
        self, decoded: Tensor, attention: AttentionMaps, images: Images
    ) -> tuple[Float[Tensor, batch], Float[Tensor, batch]]:
        """What the decoder gets wrong of each image, and whether the image counts."""
        size = (images.shape[-2], images.shape[-1])
        if self.config.dense == "reconstruction":
            with no_autocast(images):
                error = (full_precision(decoded) - grey_of(images, size)).square().mean(dim=(1, 2, 3))
            return error, torch.ones_like(error)
        masks = self.make_masks(attention, images)
        if self.config.dense == "shuffled-mask":
            masks = masks.roll(1, dims=0)
        return dice_bce_of_each(decoded, masks, self.config.dense_form)

    def make_masks(self, attention: AttentionMaps, images: Images) -> Float[Tensor, "batch masks height width"]:
        """Pseudo masks of the images' size, as the configuration asks for them."""
        mask, size = self.config.mask, (images.shape[-2], images.shape[-1])
        return pseudo_masks(
            attention,
            size,
            mask.threshold,
            mask.quantile,
            mask.interpolation,
            mask.inclusive,
            mask.domain,
            images,
            mask.smooth,
            mask.per_head,
        )

    def _text_latents(self, batch: Batch) -> Latents:
        """Text latents, from cached features, or from the tokens where the text encoder is trained."""
        if self.text_encoder is None:
            if batch.text_features is None:
                raise ValueError("the text encoder is frozen, but the batch has no text features")
            return self._headed(batch.text_features)
        if batch.tokens is None:
            raise ValueError("the text encoder is trained, but the batch has no tokens")
        if self.config.text_positions == "first" or self.text_head is None:
            return self._headed(self.text_encoder(batch.tokens))
        states = self.text_encoder.token_states(batch.tokens)
        if self.config.text_positions == "all":
            first = torch.arange(len(states), device=states.device) * states.shape[1]
            latents: Latents = self.text_head(states.flatten(0, 1), first)
            return latents
        lengths = batch.tokens.mask.sum(dim=1)
        latents = self.text_head(states[batch.tokens.mask], lengths.cumsum(0) - lengths)
        return latents

    def _headed(self, features: TextFeatures) -> Latents:
        return features if self.text_head is None else self.text_head(features)

    def _bounded_temperature(self) -> Scalar:
        """The temperature; a learned one is kept above its bound, so that its gradient never dies there."""
        if self.config.learn_temperature:
            with torch.no_grad():
                self.log_temperature.clamp_(min=math.log(self.config.minimum_temperature))
        return self.log_temperature.exp()

    @property
    def temperature(self) -> float:
        """By what similarities are divided before a softmax."""
        return self.log_temperature.exp().item()

    def image_features(self, images: Images) -> ImageFeatures:
        """The encoder's own pooled features, before head and attention."""
        features: ImageFeatures = self.image_encoder(images)
        return features

    def features_and_latents(self, images: Images) -> tuple[ImageFeatures, Latents]:
        """The encoder's pooled features, and the attention-pooled latents, L2-normalised."""
        last, _ = self.image_encoder.pyramid(images)
        return self.image_encoder.pool(last), unit_vectors(self._latents(self._pool(last)[0]))

    def encode_text(self, features: TextFeatures) -> Latents:
        """Text latents, L2-normalised, from the text encoder's pooled output."""
        return unit_vectors(self._headed(features))

    def attention_maps(self, images: Images) -> AttentionMaps:
        """How much each head looks at each cell, `batch heads rows columns`."""
        last, _ = self.image_encoder.pyramid(images)
        return self._pool(last)[1]

    def dense_features(self, images: Images) -> FeatureMap:
        """Each cell as if it were pooled alone, L2-normalised: what the pooled latents average."""
        last, _ = self.image_encoder.pyramid(images)
        latents = self._cells_as_pooled(last).permute(0, 2, 3, 1)
        return unit_vectors(self._latents(latents.flatten(0, 2)).reshape(*latents.shape[:3], -1)).permute(0, 3, 1, 2)

    def pretrained_decoder(self) -> UnetDecoder | None:
        """The decoder, where a dense term trained it."""
        return self.decoder


def _grid_of(encoder: RadiographEncoder, image_size: int) -> tuple[int, int]:
    """Features of a cell of the last feature map, and its side in cells, for square images of some size."""
    _ = encoder.pyramid_channels
    training = encoder.training
    with torch.no_grad():
        last = encoder.eval().feature_map(torch.zeros(1, encoder.channels, image_size, image_size))
    encoder.train(training)
    return last.shape[1], last.shape[-1]


def _in_steps(amount: float, steps: int) -> int:
    """Read a share of all steps (below 1) or a number of steps."""
    return int(amount * steps) if amount < 1 else int(amount)
