"""Configuration and presets of COLIPRI; importing it imports nothing heavy.

Published is what the objectives are and what the encoders are made of. Not published, and therefore ours unless a source is
named, are their weights, all sizes of the decoders, the optimisation, and what the letters of the variants stand for.
"""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from lingula.core.config import Config, merged
from lingula.models.report_decoder_config import ReportDecoderConfig
from lingula.models.volume_config import SIZES, Positive, VolumeEncoderConfig, VolumeSize

Term: TypeAlias = Literal["contrastive", "opposite", "report", "masked"]
"""A loss."""


class ColipriMethodConfig(Config):
    """COLIPRI: contrast of volumes and reports, opposite sentences, report generation (R) and masked-image modelling (M)."""

    name: Literal["colipri"] = "colipri"
    """Which method this is."""
    encoder: VolumeEncoderConfig = VolumeEncoderConfig()
    """The volume encoder; Primus-M as released."""
    size: VolumeSize | None = None
    """A named size, whose width, depth, heads and stochastic depth replace those of `encoder`: tiny (ours), small, or M."""
    image_pooler_heads: Positive = 12
    """Attention heads of the image pooling; as released."""
    text_pooler_heads: Positive = 12
    """Attention heads of the text pooling; as released. They must divide the text encoder's width, which is the shared space."""
    temperature: float = Field(default=0.07, gt=0)
    """Where the learned temperature of the contrast starts; ours (CLIP's)."""
    minimum_temperature: float = Field(default=0.01, gt=0)
    """Smallest value that it may take; ours."""
    positives: Literal["one", "share", "mask"] = "share"
    """Samples of the same text: `one` ignores that, `share` makes them positives, `mask` neither positives nor negatives."""
    contrastive_weight: float = Field(default=1.0, ge=0)
    """Weight of the contrast; ours."""
    opposite_weight: float = Field(default=0.5, ge=0)
    """Weight of the opposite-sentence loss; FlexiCT's, COLIPRI's is not known. 0: it is left out."""
    opposite_slots: int = Field(default=8, ge=2)
    """Pairs of opposite sentences per volume, in half of which the statement is true, in the others its opposite: with one pair
    "nearer to the statement" would always be right, whatever the image. FlexiCT's number; COLIPRI's is not known."""
    report_weight: float = Field(default=0.0, ge=0)
    """Weight of report generation (R); ours. 0: there is no decoder."""
    report_decoder: ReportDecoderConfig = ReportDecoderConfig()
    """What writes the reports."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Share of the target that report generation spreads over all words; ours."""
    masked_weight: float = Field(default=0.0, ge=0)
    """Weight of masked-image modelling (M); ours. 0: there is no decoder, and volumes without text cannot be used."""
    masked_share: float = Field(default=0.75, gt=0, lt=1)
    """Share of the patches that is hidden; nnSSL's."""
    masked_decoder_blocks: int = Field(default=2, ge=0)
    """Blocks of the decoder of hidden patches; nnSSL's."""
    masked_decoder_width: int | None = Field(default=None, ge=6)
    """Features of its tokens; nothing: the encoder's, as in nnSSL."""
    best_by: tuple[Term, ...] = Field(default=("contrastive", "opposite", "masked"), min_length=1)
    """Losses whose weighted sum on validation chooses the best checkpoint; those that a training has not are passed over. That of
    reports is not among them, since it rises, where training reports are learned by heart, while the others still fall; ours."""

    @model_validator(mode="after")
    def _best_by_something(self) -> Self:
        if not any(getattr(self, f"{term}_weight") for term in self.best_by):
            raise ValueError(f"no loss of this training is in best_by ({', '.join(self.best_by)}): name one of its own")
        return self

    @property
    def volume_encoder(self) -> VolumeEncoderConfig:
        """The volume encoder, of the named size where one is given."""
        if self.size is None:
            return self.encoder
        named = SIZES[self.size]
        sizes = {name: getattr(named, name) for name in ("embed_dim", "depth", "num_heads", "drop_path")}
        return self.encoder.model_copy(update=sizes)


_COMMON: dict[str, Any] = {
    "method": {"name": "colipri"},
    "data": {"text_view": "varied", "pairing": "one-per-epoch"},
    "crop": {"size": 160},
    "text_encoder": {"name": "cxr-bert-specialized", "frozen": False},
    "optimisation": {
        "batch_size": 64,
        "micro_batch_size": 4,
        "learning_rate": 1e-4,
        "weight_decay": 0.05,
        "schedule": "cosine",
        "warmup": 0.05,
        "clip_norm": 1.0,
    },
}
_R: dict[str, Any] = {"method": {"report_weight": 1.0}}
_M: dict[str, Any] = {"method": {"masked_weight": 1.0}}

_TINY: dict[str, Any] = {
    "method": {
        "encoder": {"embed_dim": 96, "depth": 2, "num_heads": 4, "patch_size": 16, "layer_scale": 1.0, "drop_path": 0.0},
        "image_pooler_heads": 4,
        "text_pooler_heads": 4,
        "opposite_slots": 4,
        "report_decoder": {"width": 64, "layers": 1, "heads": 4, "max_tokens": 96},
    },
    "data": {"text_view": "affirmed"},
    "crop": {"size": 48, "spread": 0.0, "hu_range": (-1000, 200)},
    "text_encoder": {"name": "small", "small": {"layers": 0, "width": 96, "vocabulary": 1000}},
    "optimisation": {"steps": 600, "batch_size": 64, "micro_batch_size": None, "learning_rate": 2e-3, "warmup": 0.1},
    "runtime": {"precision": "fp32", "log_every": 20, "validate_every": 200, "checkpoint_every": 10_000},
}

PRESETS: dict[str, dict[str, Any]] = {
    "c": _COMMON,
    "cr": merged(_COMMON, _R),
    "cm": merged(_COMMON, _M),
    "crm": merged(_COMMON, _R, _M),
    "tiny": merged(_COMMON, _R, _M, _TINY),
}
"""The published variants: contrast (c), with report generation (r), with masked-image modelling (m); opposite sentences in all.

Of the reconstructions of a study one meets its report in each epoch. The encoders are those of the released model. Crop, batch,
learning rate and schedule are ours; weight decay and clipping are those of nnSSL, which COLIPRI builds on. `tiny` is all of it
(crm) in a size for two processor cores, wholly ours. Its patches are large, so its crops lie in the middle, where a patch is
always about the same part of the chest, and its Hounsfield range is that of lungs and soft tissue (docs/how-to/colipri.md).
"""
