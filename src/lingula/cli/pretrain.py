"""`lingula pretrain METHOD`: train on a store."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from lingula.core.config import read_yaml
from lingula.core.errors import UserError, nearest
from lingula.methods.registry import CONFIGS, default_preset
from lingula.training.config import PretrainConfig
from lingula.training.recipes import recipe


@dataclass
class Pretrain:
    """Train a method on the image-text pairs of a store; every field of the configuration is an option."""

    config: Annotated[PretrainConfig, tyro.conf.arg(name="")]
    """The complete configuration."""
    folder: Annotated[Path, tyro.conf.arg(name="run")] = Path("runs/run")
    """Folder the run leaves behind."""
    store: Path | None = None
    """Folder of the store (short for --data.store)."""
    images_only: Path | None = None
    """Folder of a store of CT volumes that are learned from without text (short for --data.images-only)."""
    preset: str = "sound"
    """The method's complete set of numbers: `released` (the official code's), `sound` (ours), or another that it has (`colipri`:
    c, cr, cm, crm, tiny)."""
    config_file: Annotated[Path | None, tyro.conf.arg(name="config")] = None
    """YAML file whose keys replace the preset's; options replace both."""
    init_from: Path | None = None
    """Run folder, checkpoint folder or safetensors file whose weights a new run starts from; not with --resume."""
    resume: bool = False
    """Go on with an interrupted run, exactly as if it had not been interrupted."""
    overwrite: bool = False
    """Replace an existing run folder."""
    print_config: bool = False
    """Print the complete configuration as YAML and leave."""
    dry_run: bool = False
    """Print shapes, parameters, memory, disk, steps and hours and leave."""
    pairs: int | None = None
    """With --dry-run: plan for so many training samples, without a store (where no text encoder is trained: not for colipri)."""
    images_per_second: float | None = None
    """With --dry-run: images that one GPU trains per second, measured; gives hours on 1, 4 and 8."""
    peak_tflops: float | None = None
    """With --dry-run, where nothing is measured: nominal rate of a GPU, 10^12 operations per second (312: bf16 on an A100)."""
    utilisation: float | None = None
    """With --dry-run, where nothing is measured: the share of that rate that training reaches (assumed: 0.2)."""

    def complete_config(self) -> PretrainConfig:
        """The configuration with --store and --images-only put in their places."""
        given = {"store": self.store, "images_only": self.images_only}
        short = {name: path for name, path in given.items() if path is not None}
        return self.config.model_copy(update={"data": self.config.data.model_copy(update=short)})

    def _speed(self) -> dict[str, float]:
        """What was said about the speed."""
        given = {name: getattr(self, name) for name in ("images_per_second", "peak_tflops", "utilisation")}
        return {name: value for name, value in given.items() if value is not None}

    def run(self) -> None:
        """Train, or print what would be trained."""
        config = self.complete_config()
        if self.print_config:
            print(config.as_yaml(), end="")
            return
        from lingula.training.plan import Speed
        from lingula.training.pretrain import describe_plan, pretrain

        if self.dry_run:
            print(describe_plan(config, self.pairs, Speed(**self._speed())))
            return
        if self.pairs is not None or self._speed():
            options = "--pairs, --images-per-second, --peak-tflops and --utilisation"
            raise UserError(f"{options} are for --dry-run", "Add --dry-run, or leave them out.")
        run = pretrain(config, self.folder, overwrite=self.overwrite, resume=self.resume, init_from=self.init_from)
        print(f"Next: lingula evaluate {run} --store {config.data.store}   and   lingula report {run}")


def parse(arguments: list[str]) -> Pretrain:
    """Read METHOD, --preset and --config first, so that they give the defaults of all other options.

    Raises:
        UserError: No such method or preset, or the YAML file does not fit.
    """
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(f"usage: lingula pretrain {{{','.join(CONFIGS)}}} --store STORE --run RUN [options]")
        print("Every method has its own options: lingula pretrain METHOD --help")
        print("The language model that reads the reports: lingula pretrain language-model --help")
        sys.exit(0 if arguments else 2)
    method, rest = arguments[0], arguments[1:]
    if method not in CONFIGS:
        raise UserError(f"no such method: {method}", nearest(method, CONFIGS) or f"Known methods: {', '.join(CONFIGS)}.")
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default=default_preset(method))
    first.add_argument("--config", type=Path)
    known, _ = first.parse_known_args(rest)
    config = recipe(method, known.preset, read_yaml(known.config) if known.config else None)
    defaults = Pretrain(config=config, preset=known.preset, config_file=known.config)
    markers = (tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff)
    return tyro.cli(Pretrain, args=rest, default=defaults, prog=f"lingula pretrain {method}", config=markers)
