"""Configuration and presets of G2D; importing it imports nothing heavy."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lingula.core.config import Config


class PseudoMaskConfig(Config):
    """How an attention map becomes a segmentation target."""

    threshold: Literal["quantile", "mean", "median", "gmm"] = "quantile"
    """What a pixel must exceed: a quantile, the mean, the median, or the point where the upper of two Gaussians is likelier."""
    quantile: float = Field(default=0.85, ge=0, le=1)
    """Which quantile."""
    inclusive: bool = False
    """Whether pixels equal to the threshold are inside."""
    interpolation: Literal["nearest", "bilinear"] = "bilinear"
    """How the map is enlarged to the image."""
    domain: Literal["image", "body"] = "body"
    """Whether threshold and mask are taken over the whole image or the body alone (Otsu on the image)."""
    smooth: Literal["bilateral", "guided"] | None = None
    """Edge-preserving smoothing of the mask: of itself, or guided by the image."""
    per_head: bool = False
    """One mask per head instead of one of their mean."""


class G2DConfig(Config):
    """G2D: InfoNCE on attention-pooled images, and a decoder that segments what the attention looks at."""

    name: Literal["g2d"] = "g2d"
    """Which method this is."""
    latent: int = Field(default=128, ge=1)
    """Size of the space shared by images and texts."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layer of the heads per cell and per token."""
    pooling: Literal["attention", "weighted-mean"] = "weighted-mean"
    """`attention`: a head per cell, then CLIP's attention pooling, as published. `weighted-mean` (ours): each head averages the
    encoder's own features by its attention, beside the encoder's own pooling; a batch norm and one matrix follow, as in our
    CLIP."""
    attention_width: int | None = Field(default=None, ge=1)
    """Features in which attention compares cells; the latent size where nothing is given. The heads must divide it."""
    heads: int = Field(default=4, ge=1)
    """Heads of the attention pooling."""
    text_head: Literal["projection", "none"] = "projection"
    """Projection of the text; `none`: its features are the shared space and the latent size is theirs."""
    text_positions: Literal["first", "real", "all"] = "real"
    """What the batch norm of the text head sees where the text encoder is trained: the first token of each text (what is used of
    it), all real tokens, or padding too (as the official code does)."""
    temperature: float = Field(default=0.07, gt=0)
    """By what similarities are divided; where it starts if it is learned."""
    learn_temperature: bool = True
    """Whether the temperature is learned."""
    minimum_temperature: float = Field(default=0.01, gt=0)
    """Smallest value that a learned temperature may take."""
    direction: Literal["both", "image-to-text"] = "both"
    """InfoNCE in both directions (their mean), or as printed in one."""
    positives: Literal["one", "share", "mask"] = "share"
    """Samples of the same text: `one` ignores that, `share` makes them positives, `mask` neither positives nor negatives."""
    contrastive_weight: float = Field(default=1.0, ge=0)
    """Weight of the contrastive term."""
    dense: Literal["pseudo-mask", "shuffled-mask", "reconstruction", "none"] = "pseudo-mask"
    """What the decoder learns: the image's own pseudo mask, another image's (an ablation), the image itself, or nothing. The
    other image is the previous one of those that a process encodes at once: with `shuffled-mask` alone the training depends on
    the number of processes and the micro-batch."""
    dense_form: Literal["sound", "paper", "released"] = "sound"
    """Form of Dice and cross-entropy."""
    dense_weight: float = Field(default=1.0, ge=0)
    """Weight of the dense term, once it is warm."""
    dense_warmup: float = Field(default=0.1, ge=0)
    """How long the dense term is left out: below 1 a share of all steps, from 1 on a number of steps."""
    dense_rise: float = Field(default=0.1, ge=0)
    """How long it then takes to reach its weight, along a line; counted like `dense_warmup`."""
    decoder_channels: tuple[int, ...] | None = None
    """Channels of the decoder's blocks, coarsest first; nothing: 256, 128, 64, 32, 16."""
    mask: PseudoMaskConfig = PseudoMaskConfig()
    """How the pseudo masks are made."""


_CLINICAL_BERT = {
    "name": "bio-clinical-bert",
    "pooling": "cls",
    "max_tokens": 256,
    "frozen": False,
    "frozen_layers": 9,
    "dropout": False,
}
_RESNET50 = {"name": "resnet50.tv_in1k", "weights": "imagenet", "channels": 3}

PRESETS: dict[str, dict[str, Any]] = {
    "released": {
        "method": {
            "name": "g2d",
            "latent": 128,
            "hidden": 128,
            "heads": 4,
            "text_positions": "all",
            "pooling": "attention",
            "temperature": 0.07,
            "learn_temperature": False,
            "direction": "both",
            "positives": "one",
            "contrastive_weight": 2.0,
            "dense_form": "released",
            "dense_warmup": 200,
            "dense_rise": 0,
            "mask": {"threshold": "quantile", "quantile": 0.85, "interpolation": "nearest", "domain": "image"},
        },
        "image_encoder": _RESNET50,
        "text_encoder": _CLINICAL_BERT | {"padding": "max"},
        "data": {"image_size": 256, "text_view": "report"},
        "augment": {"crop": 1.0, "mean": 0.449, "std": 0.226, "rotation": 15.0},
        "optimisation": {
            "epochs": 52,
            "batch_size": 64,
            "learning_rate": 2e-5,
            "weight_decay": 1e-8,
            "decay_vectors": True,
            "schedule": "warm-restarts",
            "restart_period": 200,
            "minimum_learning_rate": 1e-8,
            "warmup": 0,
            "clip_norm": None,
        },
        "runtime": {"precision": "fp16"},
    },
    "paper": {
        "method": {
            "name": "g2d",
            "latent": 128,
            "hidden": 128,
            "heads": 3,
            "attention_width": 129,
            "pooling": "attention",
            "temperature": 0.07,
            "learn_temperature": False,
            "direction": "image-to-text",
            "positives": "one",
            "dense_form": "paper",
            "dense_warmup": 0,
            "dense_rise": 0,
            "mask": {"quantile": 0.85, "inclusive": True, "interpolation": "bilinear", "domain": "body", "smooth": "bilateral"},
        },
        "image_encoder": _RESNET50,
        "text_encoder": _CLINICAL_BERT,
        "data": {"image_size": 224, "text_view": "report"},
        "augment": {"crop": 0.875, "mean": 0.0, "std": 1.0},
        "optimisation": {
            "epochs": 50,
            "batch_size": 2048,
            "learning_rate": 2e-4,
            "weight_decay": 1e-8,
            "decay_vectors": True,
            "schedule": "cosine",
            "warmup": 0.05,
            "clip_norm": None,
        },
    },
    "sound": {
        "method": {"name": "g2d"},
        "data": {"text_view": "mixed"},
        "optimisation": {"learning_rate": 5e-4, "weight_decay": 0.05, "schedule": "cosine", "warmup": 0.05, "clip_norm": 1.0},
    },
}
"""`released`: losses, gradients and schedule of the official code on one process (`cnn_ae.py`, `loss.py`, `trainer.py`).

Its batch is 64 per GPU and nothing is gathered, so its negatives are 64 whatever the number of GPUs. The contrastive term is
the sum of both directions, hence the weight 2. Not reproduced are the faults of its data path, and of its transform the shear.

`paper`: the text's numbers. Its 3 heads cannot divide its 128 features, so attention pools 129 and its output map gives 128.
Not stated are the length of the warm-up, the interpolation and the text encoder's frozen layers: 5 % of the steps, bilinear,
and 9 as in the code.

`sound`: ours. Sigmoid Dice with smoothing, bilinear maps thresholded inside the body, a learned temperature, both directions,
equal texts as positives, no padding in any statistic, and a dense term that waits for the attention to mean something.
"""
