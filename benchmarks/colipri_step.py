"""One COLIPRI step (CRM) on CT crops: volumes per second and peak memory, and what hiding three quarters of a volume saves.

    .venv/bin/python benchmarks/colipri_step.py                          tiny at 96³ and 128³ on a CPU
    .venv/bin/python benchmarks/colipri_step.py --threads 1 --clock cpu  on a machine that is busy with other things
    .venv/bin/python benchmarks/colipri_step.py --sides 160 192          the larger crops

On a GPU: M in bf16 at 96³ to 192³, each way also with checkpointing, with torch.compile and with both; **that part has not been
run yet**. Weights, volumes and words are random: only time and memory matter. `forward` is the encoder alone, without gradient;
`crm` the full step: contrast, report generation, masked volumes, opposite sentences, update; `m` the step of volumes without
text, three quarters of their patches hidden; `m-whole` the same with one patch hidden, so that the encoder sees nearly all.

Each way runs in a process of its own, so that its peak memory is its own; the ways of one size take turns, round by round, so
that a ratio is of one run. MFU: operations of the plain way (counted by torch, so that computing again counts once) over median
seconds, as a share of the best rate of a matrix product in the same precision, measured in the same process.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from training_step import CLOCKS, DTYPES, Contender, matrix_rate, serve, start

from lingula.core.batch import Batch, Tokens
from lingula.core.distributed import World
from lingula.methods.colipri import ColipriMethod
from lingula.methods.colipri_config import PRESETS, ColipriMethodConfig
from lingula.models.report_decoder_config import ReportDecoderConfig
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling
from lingula.models.volume_config import SIZES, VolumeSize
from lingula.training.config import OptimisationConfig
from lingula.training.optimisation import build_optimiser
from lingula.training.parallel import Spread, clip_gradients

WAYS = {
    "forward": "encoder forward",
    "crm": "CRM step",
    "m": "M step, 75 % hidden",
    "m-whole": "M step, nothing hidden",
}
FORMS = {"": "", "+checkpointing": ", checkpointing", "+compile": ", compiled", "+checkpointing+compile": ", both"}
"""What may be added to a way; forward alone keeps nothing to compute again."""
ALL = {way + form: WAYS[way] + said for way in WAYS for form, said in FORMS.items() if way != "forward" or "check" not in form}
NEARLY_NOTHING = 1e-9
"""Share to hide of which one patch is left."""
REPORT, STATEMENT = 200, 12
"""Tokens: about a report of CT-RATE in full, and a short statement."""
BERT: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 192, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 768, "vocab_size": 2500},
    "M": {},
}
"""The text encoder beside each size: a small one, and BERT-base, of CXR-BERT's size."""
BERT["small"] = BERT["tiny"] | {"hidden_size": 384, "intermediate_size": 1536}


class Step:
    """One way's work, to be called again and again.

    Args:
        way: A key of `ALL`.
        size: Of the volume encoder.
        side: Voxels of a crop along each axis.
        batch: Volumes.
        device: Where.
        precision: Of autocast; fp32: none.
    """

    def __init__(self, way: str, size: VolumeSize, side: int, batch: int, device: torch.device, precision: str) -> None:
        torch.manual_seed(0)
        name, *forms = way.split("+")
        self.name, self.device, self.dtype, self.batch_size = name, device, DTYPES[precision], batch
        encoder = SIZES[size].model_copy(update={"checkpointing": "checkpointing" in forms})
        config = ColipriMethodConfig.from_values(PRESETS["crm"]["method"], "benchmark").model_copy(
            update={
                "encoder": encoder,
                "masked_share": NEARLY_NOTHING if name == "m-whole" else 0.75,
                "report_decoder": ReportDecoderConfig(width=512 if size == "M" else 64, layers=6 if size == "M" else 1),
            }
        )
        text = text_encoder(size)
        self.words = int(text.model.config.vocab_size)  # type: ignore[union-attr,arg-type]
        self.method = ColipriMethod(config, text).to(device).train(name != "forward")
        if "compile" in forms:
            backbone = self.method.image_encoder.backbone
            backbone.tokens = torch.compile(backbone.tokens)  # type: ignore[method-assign]
        optimisation = OptimisationConfig()
        self.spread = Spread(self.method, optimisation, "ddp", World(), trains_text=True)
        self.parameters = list(self.method.parameters())
        self.optimiser = build_optimiser(self.method, optimisation)
        self.batch = self._volumes(side) if name != "crm" else self._pairs(side, config.opposite_slots)

    def _volumes(self, side: int) -> Batch:
        names = [str(number) for number in range(self.batch_size)]
        images = torch.randn(self.batch_size, 1, side, side, side, device=self.device)
        return Batch(names, images, keys=list(range(self.batch_size)))

    def _pairs(self, side: int, slots: int) -> Batch:
        reports = self._texts(self.batch_size, REPORT)
        labels = torch.arange(self.batch_size * slots, device=self.device).reshape(-1, slots) % 2
        return replace(
            self._volumes(side),
            tokens=reports,
            report=reports,
            groups=torch.arange(self.batch_size, device=self.device),
            opposites=self._texts(self.batch_size, slots, 2, STATEMENT),
            opposite_labels=labels,
        )

    def _texts(self, *shape: int) -> Tokens:
        ids = torch.randint(5, self.words, shape, device=self.device)
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool))

    def __call__(self) -> None:
        """Encode, or forward, backward, clip and update."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            if self.name == "forward":
                with torch.inference_mode():
                    self.method.image_encoder.backbone.tokens(self.batch.images)
                return
            losses = self.spread.losses(self.batch, self.batch.study_ids)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        clip_gradients(self.method, 1.0)
        self.optimiser.step()


def text_encoder(size: VolumeSize) -> TextEncoder:
    """Make a BERT with random weights."""
    from transformers import BertConfig, BertModel

    model: Any = BertModel(BertConfig(**BERT[size]), add_pooling_layer=False)  # type: ignore[arg-type]
    tokeniser = SimpleNamespace(model_max_length=512, pad_token_id=0)
    return TextEncoder(model, tokeniser, Pooling(kind="mean"), frozen=False)


def child(way: str, given: argparse.Namespace) -> None:
    """Build a way and answer questions about it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    (side,) = json.loads(sys.stdin.readline())
    step = Step(way, given.size, side, given.batch, device, given.precision)
    rate: Callable[[], float] = lambda: matrix_rate(device, step.dtype, given.clock)  # noqa: E731
    serve(step, step.parameters, device, given.clock, {"rate": rate}, "compile" not in way)


def measure(side: int, given: argparse.Namespace) -> None:
    """Let the ways of one size take turns and print their rows."""
    named = {name: getattr(given, name) for name in ("size", "batch", "precision", "threads", "clock")}
    options = [word for name, value in named.items() for word in (f"--{name}", str(value))]
    ways: dict[str, Contender] = {way: start(__file__, way, ALL[way], [side], options) for way in given.ways}
    for _ in range(given.rounds):
        for contender in ways.values():
            contender.seconds.append(contender.ask("go"))
            contender.rates.append(contender.ask("rate"))
    found = {way: contender.ask("end") for way, contender in ways.items()}
    for way, contender in ways.items():
        name, _, form = way.partition("+")
        plain, whole = found.get(name, {"flops": 0}), ways.get(f"m-whole{'+' if form else ''}{form}")
        share = f"{plain['flops'] / contender.median / max(contender.rates):.0%}" if plain["flops"] else "–"
        ratio = f"{contender.median / whole.median:.2f}" if whole is not None and name in ("m", "m-whole") else "–"
        speed = f"{contender.median:.2f} | {given.batch / contender.median:.2f} | {ratio}"
        memory = f"{found[way]['memory'] / 2**30:.2f}"
        print(f"| {side}³ | {(side // 8) ** 3:,} | {contender.name} | {speed} | {memory} | {share} |", flush=True)


def main(given: argparse.Namespace) -> None:
    """Measure every size of the device at hand."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {given.threads} threads"
    said = f"{given.clock} clock, median of {given.rounds} rounds"
    print(f"{given.size} on {device}, batch {given.batch}, {given.precision}, {said}\n")
    print("| crop | patches | way | seconds | volumes/s | time / nothing hidden | peak memory, GiB | MFU |")
    print("| --- " * 8 + "|")
    for side in given.sides:
        measure(side, given)


if __name__ == "__main__":
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="M" if cuda else "tiny")
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 128, 160, 192] if cuda else [96, 128])
    parser.add_argument("--ways", nargs="+", choices=list(ALL), default=list(ALL if cuda else WAYS))
    parser.add_argument("--batch", type=int, default=4 if cuda else 2)
    parser.add_argument("--rounds", type=int, default=5 if cuda else 2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--precision", choices=list(DTYPES), default="bf16" if cuda else "fp32")
    parser.add_argument("--child", choices=list(ALL), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.child:
        child(given.child, given)
    else:
        main(given)
