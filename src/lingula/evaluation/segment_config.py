"""The numbers of the segmentation task; nothing heavy is imported."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from lingula.core.config import Config
from lingula.evaluation.volume_segment_config import VolumeSegmentConfig

EncoderName = Literal["frozen", "fine-tuned"]
DecoderName = Literal["random", "pre-trained"]


class SegmentConfig(Config):
    """How a U-Net is built on an encoder, trained and asked.

    What MGCA's code does is repeated by `loss: mgca, batch_norm: moving, choose_by: loss, boxes: true`, its batch of 16 (RSNA) or
    8 (SIIM) and the scorer `mgca`.
    """

    encoder: tuple[EncoderName, ...] = ("frozen",)
    """Whether the encoder stays as it is or learns along; several are scored beside each other."""
    decoder: tuple[DecoderName, ...] = ("random", "pre-trained")
    """Weights the decoder starts from; `pre-trained` is left out, and said so, where the method has no decoder."""
    channels: tuple[int, ...] = ()
    """Channels of a random decoder's blocks, coarsest first; none: those of the pre-trained one, else 256 to 16."""
    boxes: bool = False
    """Whether a region that is only a box counts as a filled box, as in the RSNA protocol."""
    unlisted: Literal["unknown", "absent"] = "unknown"
    """What an image says about a finding for which it has neither a region nor a label; unknown ones are left out."""
    loss: Literal["dice-bce", "mgca"] = "dice-bce"
    """`dice-bce`: half batch Dice, half cross-entropy; `mgca`: 10 focal − log Dice."""
    rate: float = Field(default=2e-4, gt=0)
    """Learning rate of AdamW, constant."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Weight decay of AdamW."""
    batch: int = Field(default=16, ge=1)
    """Images per step, at most; also those per batch of the scorer `mgca`."""
    steps: int = Field(default=600, ge=1)
    """Most steps."""
    every: int = Field(default=50, ge=1)
    """Steps between two validations; the weights of the best of them are scored."""
    patience: int = Field(default=4, ge=1)
    """Validations without a better one before training stops."""
    choose_by: Literal["dice", "loss"] = "dice"
    """What is best on validation: Dice over all pixels at the best threshold, mean over findings; or the loss, over whole batches
    only, as MGCA has it."""
    batch_norm: Literal["still", "moving"] = "still"
    """A frozen encoder's batch norms: as they are, or (MGCA) with the batch's statistics, while the running ones move on."""
    augment: bool = True
    """Whether training images and masks vary as in pre-training."""
    pictures: int = Field(default=6, ge=0)
    """Images of the scored split that are drawn with truth and prediction."""
    volume: VolumeSegmentConfig = VolumeSegmentConfig()
    """What CT volumes have of their own; `decoder`, `channels`, `boxes`, `choose_by`, `batch`, `batch_norm` are refused."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.encoder or not self.decoder:
            raise ValueError("encoder and decoder need at least one choice")
        if any(width < 1 for width in self.channels):
            raise ValueError("channels are at least 1")
        return self
