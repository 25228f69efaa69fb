"""A store of few, coarse phantom chests, and COLIPRI so small that it trains on them in a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lingula.core.config import merged
from lingula.data.phantom.ct_source import PhantomCtSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.training.config import PretrainConfig
from lingula.training.recipes import recipe

SPACING = 12.0
SMALL: dict[str, Any] = {
    "method": {
        "encoder": {"embed_dim": 24, "depth": 2, "num_heads": 2, "drop_path": 0.0},
        "image_pooler_heads": 2,
        "text_pooler_heads": 2,
        "report_decoder": {"width": 16, "layers": 1, "heads": 2, "max_tokens": 20},
        "opposite_slots": 3,
    },
    "crop": {"size": 16},
    "text_encoder": {
        "name": "small",
        "small": {"vocabulary": 80, "width": 16, "layers": 1, "word_steps": 2, "steps": 2, "heads": 2},
    },
    "optimisation": {"steps": 4, "batch_size": 6, "micro_batch_size": 4, "learning_rate": 1e-3},
    "runtime": {"log_every": 1, "validate_every": 2, "checkpoint_every": 2, "device": "cpu", "precision": "fp32"},
}


def make_ct_store(folder: Path, train: int = 14, val: int = 6, test: int = 0, seed: int = 0, spacing: float = SPACING) -> Path:
    source = PhantomCtSource(train, val, test, seed=seed, spacing=spacing)
    prepare(source, folder, PrepareVolumesConfig(spacing=spacing), workers=1)
    return folder


def small_recipe(store: Path, preset: str = "crm", **parts: Any) -> PretrainConfig:
    return recipe("colipri", preset, merged(SMALL, {"data": {"store": store}}, parts))
