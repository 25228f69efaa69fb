"""What to evaluate, on which rows, and how: read by the command line before anything heavy is imported."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from lingula.core.config import Config
from lingula.evaluation.detect_config import DetectConfig
from lingula.evaluation.generate_config import GenerateConfig
from lingula.evaluation.ground_config import GroundConfig
from lingula.evaluation.segment_config import SegmentConfig
from lingula.evaluation.token_probe_config import TokenProbeConfig

TaskName = Literal[
    "zero-shot",
    "probe",
    "token-probe",
    "fine-tune",
    "retrieve",
    "geometry",
    "supervised",
    "segment",
    "detect",
    "ground",
    "generate",
]
SeenOfVolumes = Literal["whole", "windows", "centre"]
"""What an encoder is shown of a CT volume: all of it, all of it window by window, or the crop in the middle."""
ScorerName = Literal["mgca", "strict"]
DenseScores = Literal["dense-max", "dense-mean", "dense-attention"]
ZeroShotScores = Literal["pooled", "dense-max", "dense-mean", "dense-attention"]
PromptStyle = Literal["short", "report"]


class EvaluateConfig(Config):
    """One evaluation: tasks, rows, findings and the numbers of their protocols."""

    store: Path
    """Folder of the store."""
    protocol: str = ""
    """A published protocol, SYSTEM/TASK/DATASET (e.g. g2d/segment/rsna): its task and options, where none other than our
    defaults are given, and the published numbers beside ours."""
    task: tuple[TaskName, ...] = ("zero-shot", "probe", "retrieve")
    """Which tasks to run."""
    volumes: SeenOfVolumes | None = None
    """What is shown of a CT volume: all of it, all of it in windows of the training's crops, or the crop in the middle; None:
    what the training validated with (`crop.evaluation` of the run)."""
    split: Literal["train", "val", "test"] = "test"
    """Split whose rows are scored; thresholds and hyper-parameters always come from val."""
    label: tuple[str, ...] = ()
    """Findings to score; none named: every finding of the store with both classes."""
    against: str | None = None
    """Negatives are the rows that carry this label and not the finding (e.g. "No Finding"); None: rows labelled absent."""
    where: tuple[str, ...] = ()
    """Row filters COLUMN=PATTERN, all of which must hold, e.g. "projection=PA" or "source=NIH*"."""
    sections: tuple[str, ...] = ()
    """Report sections that retrieval reads; none named: all."""
    prompts: Path | None = None
    """YAML file of prompts: finding to {positive: [...], negative: [...]}."""
    scoring: Literal["validation", "difference", "positive", "unmixed"] = "validation"
    """Zero-shot score: cosine with the positive prompts minus that with the negative ones, or that with the positive ones
    alone; `validation` takes the one with the better macro AUROC on validation."""
    zero_shot_scores: tuple[ZeroShotScores, ...] = ("pooled",)
    """What the prompts are compared with: the pooled image, or the cells of the feature grid, whose scores are then aggregated by
    their maximum, mean, or attention-weighted mean; each is a setting of its own."""
    prompt_style: tuple[PromptStyle, ...] = ("short",)
    """How zero-shot asks: with the prompts as they are, or with reports whose findings and impression say nothing else (ours: how
    COLIPRI's long prompts read is not published); each is a setting of its own."""
    temperature: float = Field(default=0.1, gt=0)
    """Temperature of the zero-shot softmax between the positive and the negative prompt."""
    threshold: Literal["f1", "mcc"] = "f1"
    """What the decision threshold maximises on validation."""
    fraction: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Shares of the training patients that the probe, fine-tuning, segmentation and detection learn from."""
    draws: int = Field(default=3, ge=1)
    """Random draws of patients for every fraction below 1."""
    folds: int = Field(default=0, ge=0)
    """0: the store's splits; k: k-fold by patient over all rows (test, next fold validation, rest training)."""
    regularisation: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Values of C (inverse L2 penalty) among which the probe chooses on validation."""
    token_probe: TokenProbeConfig = TokenProbeConfig()
    """Probes on all tokens of a volume."""
    fine_tune_steps: int = Field(default=300, ge=1)
    """Most steps of fine-tuning."""
    fine_tune_batch: int = Field(default=64, ge=2)
    """Images per step of fine-tuning, at most."""
    fine_tune_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of fine-tuning for the encoder; the new classifier learns ten times as fast."""
    fine_tune_every: int = Field(default=25, ge=1)
    """Steps between two validations of fine-tuning; the best of them is scored."""
    patience: int = Field(default=4, ge=1)
    """Validations of fine-tuning without a better one before it stops."""
    scorer: tuple[ScorerName, ...] = ("mgca", "strict")
    """How masks and boxes are scored: `mgca`, as published with its quirks, and `strict`, in which every image counts."""
    segment: SegmentConfig = SegmentConfig()
    """Segmentation."""
    detect: DetectConfig = DetectConfig()
    """Detection."""
    k: tuple[int, ...] = (1, 5, 10)
    """Cut-offs of recall@k and precision@k."""
    gallery: int = Field(default=1000, ge=0)
    """Studies in the retrieval gallery, drawn by seed; 0: all."""
    distinct_reports: bool = False
    """Whether the gallery holds every report text only once."""
    bootstrap: int = Field(default=1000, ge=0)
    """Resamples of patients for the 95 % intervals; 0: no intervals."""
    seed: int = 0
    """Seed of folds, draws, gallery and bootstrap."""
    text_view: Literal["report", "affirmed"] = "report"
    """What of a report is searched for and found: all of it, or what it affirms."""
    compare_start: bool = False
    """Also score the weights that the run started from, and report the paired difference."""
    ground: GroundConfig = GroundConfig()
    """How grounding is measured."""
    generate: GenerateConfig = GenerateConfig()
    """How reports are written and read."""

    def options(self, task: str) -> str:
        """Return the options of `lingula evaluate RUN` that repeat one of the tasks, without defaults and other tasks' parts.

        >>> EvaluateConfig(store=Path("stores/x"), folds=5, label=("Edema",)).options("probe")
        '--store stores/x --task probe --label Edema --folds 5'
        """
        parts = [name for name in type(self).model_fields if isinstance(getattr(self, name), Config)]
        others = [part for part in parts if part != task.replace("-", "_")]
        return shlex.join(["--store", str(self.store), "--task", task, *_words(self, left_out=("store", "task", *others))])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if any(not 0 < fraction <= 1 for fraction in self.fraction):
            raise ValueError("fraction lies above 0 and at most at 1")
        if any(c <= 0 for c in self.regularisation) or not self.regularisation:
            raise ValueError("regularisation needs positive values")
        if any(k < 1 for k in self.k) or not self.k:
            raise ValueError("k needs values of at least 1")
        if not self.scorer:
            raise ValueError("scorer needs at least one of mgca and strict")
        if not self.zero_shot_scores or len(set(self.zero_shot_scores)) < len(self.zero_shot_scores):
            raise ValueError("zero_shot_scores names each way once, and at least one")
        if not self.prompt_style or len(set(self.prompt_style)) < len(self.prompt_style):
            raise ValueError("prompt_style names each style once, and at least one")
        if self.folds == 1:
            raise ValueError("folds is 0 or at least 2")
        if any("=" not in filter_ for filter_ in self.where):
            raise ValueError("every filter of where reads COLUMN=PATTERN")
        return self


def _words(config: Config, prefix: str = "", left_out: tuple[str, ...] = ()) -> list[str]:
    """Options of the fields that are not at their defaults; those of a part carry its name: `--segment.encoder fine-tuned`."""
    words: list[str] = []
    for name, field in type(config).model_fields.items():
        value, option = getattr(config, name), prefix + name.replace("_", "-")
        if name in left_out or value == field.default:
            continue
        if isinstance(value, Config):
            words += _words(value, f"{option}.")
        elif isinstance(value, bool):
            words.append(f"--{option}" if value else f"--{prefix}no-{name.replace('_', '-')}")
        else:
            words += [f"--{option}", *([str(each) for each in value] if isinstance(value, tuple) else [str(value)])]
    return words
