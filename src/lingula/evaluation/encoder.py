"""What a task needs from a model, whatever trained it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

from lingula.core.errors import UserError
from lingula.core.types import Pixels, RowNumbers
from lingula.data.store import Store
from lingula.data.store_schema import KINDS
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import AttentionGrids, DenseLatents, EncodedFeatures, EncodedLatents, ImageScores, TextLatents

if TYPE_CHECKING:
    from torch import nn

    from lingula.data.augment import ImageTransform
    from lingula.models.radiograph_encoder import RadiographEncoder
    from lingula.models.unet_decoder import UnetDecoder


class Named(Protocol):
    """What a result says about the model it comes from."""

    name: str
    fingerprint: str


class Encoder(Named, Protocol):
    """A loaded model with its own preprocessing inside."""

    findings: list[str]
    """What a supervised model classifies; empty for the others."""

    def encode_text(self, texts: Sequence[str]) -> TextLatents:
        """Return L2-normalised latents of texts."""
        ...

    def classify(self, features: EncodedFeatures) -> ImageScores:
        """Return a supervised model's logits."""
        ...


@runtime_checkable
class RadiographModel(Protocol):
    """An encoder of radiographs."""

    def embed_pixels(self, pixels: Sequence[Pixels]) -> tuple[EncodedFeatures, EncodedLatents]:
        """Return features before projection, and L2-normalised latents (no columns for a model without text)."""
        ...


@runtime_checkable
class VolumeEncoding(Protocol):
    """An encoder of CT volumes."""

    def embed_rows(self, store: VolumeStore, rows: RowNumbers) -> tuple[EncodedFeatures, EncodedLatents]:
        """Return features before projection, and L2-normalised latents, of volumes of a store."""
        ...


def radiographs(store: StoreTable) -> Store:
    """Return the same store, known to hold radiographs.

    Raises:
        UserError: It holds CT volumes.
    """
    if isinstance(store, VolumeStore):
        raise UserError(f"store {store.path} holds CT volumes; this needs radiographs", "Give a store of radiographs.")
    return cast("Store", store)


def embed_block(encoder: Encoder, store: StoreTable, rows: RowNumbers) -> tuple[EncodedFeatures, EncodedLatents]:
    """Embed some images of a store of either kind.

    Raises:
        UserError: The encoder reads the other kind.
    """
    if isinstance(store, VolumeStore):
        if isinstance(encoder, VolumeEncoding):
            return encoder.embed_rows(store, rows)
    elif isinstance(encoder, RadiographModel):
        return encoder.embed_pixels([radiographs(store).pixels(int(row)) for row in rows])
    problem = f"store {store.path} holds {KINDS[store.kind]}, which the {encoder.name} model does not read"
    raise UserError(problem, "Give a store of the kind that it was trained on.")


@dataclass(frozen=True)
class Trainable:
    """A copy of an image encoder that a task may train.

    Args:
        network: Normalised images `batch 1 height width` to features `batch features`.
        dimension: Size of the features.
        transform: Grey values to images, with and without augmentation.
    """

    network: nn.Module
    dimension: int
    transform: ImageTransform


@runtime_checkable
class TrainableEncoder(Protocol):
    """An encoder that gives its image tower away for fine-tuning."""

    def trainable(self) -> Trainable:
        """Return a copy; the encoder itself never changes."""
        ...


@dataclass(frozen=True)
class DenseTrainable:
    """A copy of an image encoder with its feature pyramid, and of the decoder that was pre-trained along with it.

    Args:
        encoder: Has `pyramid` and `pyramid_channels`.
        decoder: None where the method trains none.
        transform: Grey values to images, with and without augmentation.
    """

    encoder: RadiographEncoder
    decoder: UnetDecoder | None
    transform: ImageTransform


@runtime_checkable
class DenseTrainableEncoder(Protocol):
    """An encoder that gives its image tower away for tasks that need its feature pyramid."""

    def dense_trainable(self) -> DenseTrainable:
        """Return a copy; the encoder itself never changes."""
        ...


@runtime_checkable
class GroundingEncoder(Protocol):
    """An encoder that says where in an image a text lies."""

    @property
    def crop(self) -> float:
        """Side of the square in the middle that the model sees, as a share of the stored image's side."""
        ...

    def dense_pixels(self, pixels: Sequence[Pixels]) -> DenseLatents:
        """Return L2-normalised latents on the feature grid, comparable with those of texts."""
        ...

    def attention_pixels(self, pixels: Sequence[Pixels]) -> AttentionGrids | None:
        """Return how much each head looks at each cell of the same grid; None for a model that pools otherwise."""
        ...

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that the model's vocabulary does not know."""
        ...


def need_grounding(encoder: Encoder, task: str) -> GroundingEncoder:
    """Return the same encoder, known to say where a text lies.

    Raises:
        UserError: It has no features on a grid, or no space shared with text.
    """
    if encoder.findings or not isinstance(encoder, GroundingEncoder):
        raise UserError(
            f"{encoder.name} has no dense features comparable with text, which {task} needs", "Use a clip or m-flag run."
        )
    return encoder


def need_text(latents: EncodedLatents, encoder: Encoder, task: str) -> None:
    """Check that the model has a space shared with text.

    Raises:
        UserError: It has none.
    """
    if latents.shape[1] == 0:
        raise UserError(f"{encoder.name} has no text tower, which {task} needs", "Choose --task probe or supervised for it.")
