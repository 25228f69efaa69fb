"""What the tasks on CT volumes need from a model that gives its parts away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from lingula.core.batch import Tokens
from lingula.core.types import RowNumbers
from lingula.evaluation.arrays import EncodedTokens

if TYPE_CHECKING:
    from lingula.data.volume_crop import VolumeCrop
    from lingula.data.volume_store import VolumeStore
    from lingula.models.masked_decoder import MaskedDecoder
    from lingula.models.report_decoder import ReportDecoder
    from lingula.models.volume_encoder import VolumeEncoder
    from lingula.models.volume_tower import VolumeTower


@dataclass(frozen=True)
class VolumeTrainable:
    """A copy of a volume encoder that a task may train.

    Args:
        encoder: Volumes to tokens on their grid; on the device it is to run on.
        crop: What pre-training made of stored volumes: size, Hounsfield range, variation.
    """

    encoder: VolumeEncoder
    crop: VolumeCrop


@runtime_checkable
class VolumeTrainableEncoder(Protocol):
    """A model that gives its volume encoder away."""

    def volume_trainable(self, store: VolumeStore) -> VolumeTrainable:
        """Return a copy; the model itself never changes.

        Raises:
            UserError: The store's volumes are stored otherwise than those of the training.
        """
        ...


@runtime_checkable
class TokenEncoder(Protocol):
    """A model that gives the tokens of its volume encoder."""

    def check_tokens(self, store: VolumeStore) -> None:
        """Check that all volumes of a store have the same number of tokens.

        Raises:
            UserError: They have not.
        """
        ...

    def embed_tokens(self, store: VolumeStore, rows: RowNumbers) -> EncodedTokens:
        """Return all tokens of some volumes with the same number of them, before projection and pooling.

        Raises:
            UserError: The volumes are stored otherwise than those of the training.
        """
        ...


class ReportWords(Protocol):
    """The words that a report decoder writes: a text encoder or tower."""

    @property
    def tokeniser(self) -> Any:
        """What turns token numbers into words (`decode`), and knows which are special."""
        ...

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """Tokenise texts as training did, padded to the longest."""
        ...


@dataclass(frozen=True)
class ReportWriter:
    """The parts of a model that write a report about a volume, in evaluation mode on one device.

    Args:
        tower: Volumes to tokens (`features`) and to one vector (`pooled`).
        decoder: Tokens to words.
        words: What the decoder's words are.
        crop: How the model sees stored volumes (`evaluate`).
        window: Voxels of windows that are encoded alone, their tokens put together; None: what is seen is encoded whole.
    """

    tower: VolumeTower
    decoder: ReportDecoder
    words: ReportWords
    crop: VolumeCrop
    window: tuple[int, int, int] | None = None


@runtime_checkable
class WritingEncoder(Protocol):
    """A model that may write reports."""

    def report_writer(self, store: VolumeStore) -> ReportWriter | None:
        """Return the parts that write, not copied; None for a model that was trained without report generation.

        Raises:
            UserError: The store's volumes are stored otherwise than those of the training.
        """
        ...


@dataclass(frozen=True)
class HiddenFiller:
    """The parts of a model that fill in hidden patches of a volume, in evaluation mode on one device.

    Args:
        tower: Visible patches to tokens (`visible`).
        decoder: Those to the voxels of all patches.
        share: Of the patches that training hid.
        crop: How training sees stored volumes; here the crop in the middle, not varied.
    """

    tower: VolumeTower
    decoder: MaskedDecoder
    share: float
    crop: VolumeCrop


@runtime_checkable
class FillingEncoder(Protocol):
    """A model that may fill in hidden patches."""

    def hidden_filler(self, store: VolumeStore) -> HiddenFiller | None:
        """Return the parts that fill in, not copied; None for a model that was trained without masked-image modelling.

        Raises:
            UserError: The store's volumes are stored otherwise than those of the training.
        """
        ...
