"""How data sets that come as shards are read: parquet files of Hugging Face `datasets`, tar files of WebDataset."""

from __future__ import annotations

from lingula.core.config import Config


class ContainerConfig(Config):
    """Which files of a folder are shards, and what numbers in place of labels mean."""

    shards: str = ""
    """Which files below the root, e.g. `shard-{000000..000012}.tar`, `data/train-*.parquet`; empty: all that end like shards."""
    allow_missing: bool = False
    """Go on without shards that are missing or damaged, and with what is whole of one that was cut short."""
    class_names: tuple[str, ...] = ()
    """Findings by their number, from 0, where labels are numbers and the shards do not name them."""


class WebDatasetConfig(ContainerConfig):
    """How the members of tar shards make up samples."""

    image_members: tuple[str, ...] = ()
    """Endings, behind the key, of the members that are images, e.g. `png`, `frontal.png`; empty: all that end like one."""
    keys_by_shard: bool = False
    """Keys count within their shard only, so that two shards may use the same ones for different samples."""
