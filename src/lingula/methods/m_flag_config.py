"""Configuration and presets of M-FLAG; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lingula.core.config import Config


class MFlagConfig(Config):
    """M-FLAG: alignment to a frozen language model without negatives, orthogonality of the image features."""

    name: Literal["m-flag"] = "m-flag"
    """Which method this is."""
    latent: int = Field(default=128, ge=1)
    """Size of the space shared by images and texts."""
    hidden: int = Field(default=2048, ge=1)
    """Width of the hidden layer of both heads."""
    image_head: Literal["batch-norm-mlp", "batch-norm-linear", "mlp", "linear"] = "batch-norm-mlp"
    """Head of the images."""
    text_head: Literal["projection", "none", "whitening"] = "projection"
    """Head of the texts: learned, as the official code has it; none; or a whitening of the frozen features, which nothing can
    collapse (`latent` is then the size of the text features)."""
    alignment_weight: float = Field(default=1.0, ge=0)
    """Weight of the alignment term."""
    orthogonality_weight: float = Field(default=1.5, ge=0)
    """Weight of the orthogonality term."""
    orthogonality_form: Literal["raw", "centred", "standardised"] = "centred"
    """Second moments of the features as they are, their covariance, or their correlation."""
    orthogonality_on: Literal["features", "latents", "both"] = "both"
    """What must be orthogonal: the pooled image features, the projected latents of images and of texts, or both (their mean).

    On the image features alone, nothing stops the heads from aligning along one axis.
    """
    off_diagonal_weight: float = Field(default=0.3, ge=0)
    """Weight of the off-diagonal entries against the diagonal ones; what it does grows with the number of dimensions."""
    per_dimension: bool = True
    """Divide the orthogonality term by the number of features, so that it does not drown the alignment in a wide encoder."""


_SOUND: dict[str, Any] = {
    "method": {
        "name": "m-flag",
        "latent": 128,
        "hidden": 2048,
        "alignment_weight": 1.0,
        "orthogonality_weight": 1.5,
        "off_diagonal_weight": 0.3,
        "orthogonality_form": "centred",
        "orthogonality_on": "both",
        "per_dimension": True,
    },
    "data": {"text_view": "mixed"},
    "optimisation": {"learning_rate": 5e-4, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0},
}

PRESETS: dict[str, dict[str, Any]] = {
    "released": {
        "method": {
            "name": "m-flag",
            "latent": 1024,
            "hidden": 2048,
            "alignment_weight": 1.0,
            "orthogonality_weight": 1.0,
            "off_diagonal_weight": 0.0051,
            "orthogonality_form": "raw",
            "orthogonality_on": "features",
            "per_dimension": False,
        },
        "image_encoder": {"name": "resnet50.tv_in1k", "weights": "imagenet", "channels": 3},
        "text_encoder": {"name": "cxr-bert-general", "revision": "main", "pooling": "cls", "max_tokens": 512, "frozen": True},
        "data": {"image_size": 224, "text_view": "report"},
        "augment": {"crop": 0.875, "mean": 0.5, "std": 0.5},
        "optimisation": {
            "epochs": 51,
            "batch_size": 512,
            "learning_rate": 2e-5,
            "weight_decay": 5e-2,
            "decay_vectors": True,
            "betas": (0.9, 0.999),
            "schedule": "warm-restarts",
            "restart_period": 5 / 51,
            "minimum_learning_rate": 1e-8,
            "warmup": 0,
            "clip_norm": None,
        },
        "runtime": {"precision": "fp16"},
    },
    "sound": _SOUND,
    "whitened": {
        **_SOUND,
        "method": {
            **_SOUND["method"],
            "image_head": "batch-norm-linear",
            "text_head": "whitening",
            "orthogonality_weight": 0.0,
        },
        "text_encoder": {"frozen": True},
    },
}
"""`released`: losses, gradients and schedule of the official code on one process (`config.yaml` and `utils_trainer.py`).

Its loop runs 51 epochs, not the 50 it states, and restarts the cosine every int(50 N // 4 // 512 * 0.4) steps of N samples:
with 512 samples per step that is 5 of 51 epochs. Not reproduced are the faults of its data path: white pixels that wrap to
black, the lost aspect ratio, rotations between 0 and 90 degrees, training on the validation and test splits.
`sound`: the covariance is centred, not standardised, divided by the dimension, and taken over the global batch, of the
image features and of the latents of both sides, so that these cannot collapse to a few axes without negatives.
`whitened`: ours, no paper's. The target is the frozen language model's own features, whitened: nothing can collapse, so there is
neither a learned text head nor an orthogonality term, and a linear image head is enough (`docs/results/m_flag.md`).
"""
