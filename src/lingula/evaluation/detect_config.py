"""The numbers of the detection task; nothing heavy is imported."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lingula.core.config import Config


class DetectConfig(Config):
    """How a detector is built on an encoder, trained and asked."""

    head: Literal["yolo", "retinanet"] = "yolo"
    """`yolo`: YOLOv3's head, as in MGCA's protocol; `retinanet`: torchvision's RetinaNet."""
    encoder: Literal["frozen", "fine-tuned"] = "frozen"
    """Whether the encoder stays as it is (batch norm in evaluation mode, too) or learns along, at a tenth of the rate."""
    classes: Literal["one", "each"] = "one"
    """`one`: a box is a box, whatever its finding, as published; `each`: every finding is a class of its own."""
    batch: int | None = Field(default=None, ge=2)
    """Images per step, at most; nothing: as published, 8 for fractions up to 1 %, else 16."""
    rate: float | None = Field(default=None, gt=0)
    """Learning rate; nothing: as published, 2e-4 for fractions up to 1 %, else 5e-4."""
    weight_decay: float = Field(default=1e-6, ge=0)
    """Weight decay of AdamW."""
    steps: int | None = Field(default=None, ge=1)
    """Most steps; nothing: 50 epochs, as published."""
    every: int | None = Field(default=None, ge=1)
    """Steps between two validations; nothing: an epoch, as published, but at least 10 steps."""
    patience: int = Field(default=10, ge=1)
    """Validations without a better mAP before training stops; counted from the first one at which anything is found."""
    augment: bool = True
    """Whether training images and boxes vary as in pre-training; the published protocol shows every image unchanged."""
    width: int = Field(default=256, ge=8)
    """Channels of RetinaNet's pyramid network and heads."""
    ignore: float = Field(default=0.5, gt=0, le=1)
    """YOLO: overlap with a true box from which on a predictor that has no box is not called wrong."""
    suppress: float = Field(default=0.5, gt=0, le=1)
    """Overlap from which on the lower of two found boxes is suppressed."""
    confidence: float = Field(default=0.5, ge=0, le=1)
    """Score below which the scorer `mgca` does not see a box; `strict` sees all."""
