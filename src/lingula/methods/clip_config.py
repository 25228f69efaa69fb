"""Configuration and presets of CLIP; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lingula.core.config import Config


class ClipConfig(Config):
    """CLIP: symmetric InfoNCE between radiographs and reports, the baseline."""

    name: Literal["clip"] = "clip"
    """Which method this is."""
    latent: int = Field(default=128, ge=1)
    """Size of the space shared by images and texts."""
    head: Literal["linear", "batch-norm-linear", "mlp", "batch-norm-mlp"] = "linear"
    """Projection on each side: one matrix, that behind a batch norm, one hidden layer, or that with batch norms."""
    text_head: Literal["projection", "none"] = "projection"
    """Projection of the text; `none`: its features are the shared space and the latent size is theirs (a frozen text tower
    as LiT freezes the image tower, arXiv 2111.07991), so that short prompts keep the place the language model gave them."""
    hidden: int = Field(default=512, ge=1)
    """Width of the hidden layer, where the head has one."""
    temperature: float = Field(default=0.07, gt=0)
    """Where the learned temperature starts."""
    minimum_temperature: float = Field(default=0.01, gt=0)
    """Smallest value that the learned temperature may take."""
    positives: Literal["one", "share", "mask"] = "share"
    """Samples of the same text: `one` ignores that, `share` makes them positives, `mask` neither positives nor negatives."""


PRESETS: dict[str, dict[str, Any]] = {
    "sound": {
        "method": {"name": "clip"},
        "data": {"text_view": "mixed"},
        "optimisation": {"learning_rate": 5e-4, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0},
    }
}
"""`sound`: our numbers; there is no released CLIP for radiographs that this could copy."""
