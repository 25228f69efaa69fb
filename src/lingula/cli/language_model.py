"""`lingula pretrain language-model`: train the language model that reads the reports."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from lingula.models.text_config import LanguageModelConfig


@dataclass
class PretrainLanguageModel:
    """Train a WordPiece vocabulary and a small BERT on reports; its folder is what --text-encoder.name takes.

    With the defaults half a minute of one core on 4,000 reports; a bar shows the time left of each phase. It leaves a whole
    folder or none: what is interrupted begins anew.
    """

    config: Annotated[LanguageModelConfig, tyro.conf.arg(name="")] = field(default_factory=LanguageModelConfig)
    """Sizes and schedule."""
    folder: Annotated[Path, tyro.conf.arg(name="run")] = Path("runs/language-model")
    """Folder that the language model is written to."""
    store: tuple[Path, ...] = ()
    """Stores whose training reports are read; other splits are never looked at."""
    texts: tuple[Path, ...] = ()
    """Text files: one report a line, a JSON object a line (.jsonl), or a row (.csv)."""
    columns: tuple[str, ...] = ()
    """Keys or columns of the files that hold text, in reading order (findings, impression, text where nothing is given)."""
    seed: int = 0
    """Same texts, settings and seed: the same model."""
    overwrite: bool = False
    """Replace an older language model."""
    print_config: bool = False
    """Print the complete configuration as YAML and leave."""

    def run(self) -> None:
        """Train, and say how the result is used."""
        if self.print_config:
            print(self.config.as_yaml(), end="")
            return
        from lingula.training.language_model import pretrain_language_model

        print(self.config.as_yaml(), end="", file=sys.stderr)
        try:
            pretrain_language_model(
                self.config, self.folder, self.store, self.texts, self.columns, seed=self.seed, overwrite=self.overwrite
            )
        except KeyboardInterrupt:
            kept = "the older one is as it was" if self.folder.exists() else "there is none"
            print(f"stopped before the language model {self.folder} was finished: {kept}; run it again", file=sys.stderr)
            raise
        print(f"Next: lingula pretrain clip --store STORE --text-encoder.name {self.folder}")
