"""One M-FLAG step at real shapes: as the official code takes it, and as ours does.

    .venv/bin/python benchmarks/training_step.py            batch 8 on a CPU, 256 on a GPU where there is one
    .venv/bin/python benchmarks/training_step.py --ways ours compiled trained

ResNet-50 at 224 pixels, a frozen BERT-base with random weights, report lengths of 3,955 real reports (../shared; of the phantom's
where that is absent). Each way runs in a process of its own, so that its peak memory is its own; the ways take turns, round by
round. Ours is in bf16 where matrix products are faster in it than in fp32: not every processor has hardware for it. On a machine
that is busy with other things, `--threads 1 --clock cpu` counts the seconds that the step itself had of the processor.

MFU: floating-point operations of the step (counted by torch) over its median seconds, as a share of the best rate of a matrix
product in the same precision: the best of several sizes, repeats and rounds, measured in the same process right after each step.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lingula.core.batch import Batch
from lingula.core.distributed import World
from lingula.methods.m_flag import MFlag
from lingula.methods.m_flag_config import PRESETS, MFlagConfig
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.training.config import OptimisationConfig
from lingula.training.optimisation import build_optimiser
from lingula.training.parallel import Spread, clip_gradients

SIDE, PADDED, FEATURES = 224, 512, 768
WAYS = {
    "official": "each report re-encoded at 512 padded tokens, fp32",
    "dynamic": "the same, padded to the longest of the batch",
    "cache": "text features from the cache, fp32",
    "ours": "cache, channels-last, {precision}, fused AdamW: the loop's own step",
    "compiled": "the same, image encoder through torch.compile",
    "trained": "language model trained along, 512 padded tokens, fp32",
    "trained-dynamic": "language model trained along, padded to the longest of the batch, fp32",
}
USUAL = ("official", "dynamic", "cache", "ours")
OURS, TRAINED, PADDED_WAYS = ("ours", "compiled"), ("trained", "trained-dynamic"), ("official", "trained")
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
SIZES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192, 16384)}
"""Sides of the matrices whose product gives the attainable rate."""


def token_lengths(most: int) -> list[int]:
    """Tokens of each of the real reports, cut at `most`."""
    from lingula.methods.tokeniser import train_tokeniser
    from lingula.models.text_config import LanguageModelConfig

    archive = Path(__file__).resolve().parents[2] / "shared/data/cxr/reports/NLMCXR_reports.tgz"
    if archive.is_file():
        sys.path.insert(0, str(Path(__file__).parent / "language"))
        from real_reports import radiograph_reports

        texts = [" ".join(report.get(name, "") for name in ("findings", "impression")) for report in radiograph_reports(archive)]
    else:
        from lingula.data.phantom.source import PhantomSource

        reports = [study.report for study in PhantomSource(300, 1, 1)]
        texts = [report.text for report in reports if report is not None]
    tokeniser = train_tokeniser(texts, LanguageModelConfig())
    return [min(len(ids), most) for ids in tokeniser(texts)["input_ids"]]


def some_of(lengths: list[int], count: int) -> list[int]:
    """Take a batch, spread evenly over all reports."""
    return [lengths[place * len(lengths) // count] for place in range(count)]


def bert(trained: bool) -> nn.Module:
    """BERT-base with random weights: only its time matters."""
    from transformers import BertConfig, BertModel

    model: nn.Module = BertModel(BertConfig(), add_pooling_layer=False).train(trained).requires_grad_(trained)
    return model


class Step:
    """One optimiser step, one way.

    Args:
        way: A key of `WAYS`.
        lengths: Tokens of each report of the batch.
        device: Where.
        precision: Of our own ways; the others are in fp32.
    """

    def __init__(self, way: str, lengths: list[int], device: torch.device, precision: str) -> None:
        torch.manual_seed(0)
        self.way, self.device, self.lengths = way, device, lengths
        self.ours, self.dtype = way in OURS, DTYPES[precision if way in OURS else "fp32"]
        released = MFlagConfig(**PRESETS["released"]["method"])
        encoder = RadiographEncoder(ImageEncoderConfig(name="resnet50.tv_in1k", channels=3))
        self.method = MFlag(released, encoder, FEATURES).to(device).train()
        if self.ours:
            self.method.to(memory_format=torch.channels_last)
        if way == "compiled":
            encoder.model.forward_features = torch.compile(encoder.model.forward_features)  # type: ignore[assignment,operator]
        self.text = None if self.ours or way == "cache" else bert(way in TRAINED).to(device)
        config = OptimisationConfig(learning_rate=2e-5)
        self.spread = Spread(self.method, config, "ddp", World(), trains_text=False)
        self.parameters = [
            *self.method.parameters(),
            *(self.text.parameters() if self.text is not None and way in TRAINED else ()),
        ]
        plain = torch.optim.AdamW(self.parameters, lr=2e-5, weight_decay=5e-2, foreach=True)
        self.optimiser = build_optimiser(self.method, config) if self.ours else plain
        self.images = torch.randn(len(lengths), 1, SIDE, SIDE, device=device)
        self.cached = torch.randn(len(lengths), FEATURES, device=device)

    def features(self) -> Tensor:
        """Text features of the batch: encoded, or taken from the cache."""
        if self.text is None:
            return self.cached
        width = PADDED if self.way in PADDED_WAYS else max(self.lengths)
        places = torch.arange(width, device=self.device)
        mask = (places < torch.tensor(self.lengths, device=self.device)[:, None]).long()
        ids = torch.full((len(self.lengths), width), 5, device=self.device)
        with torch.set_grad_enabled(self.way in TRAINED):
            first: Tensor = self.text(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
        return first

    def __call__(self) -> None:
        """Forward, backward, update."""
        names = [str(place) for place in range(len(self.lengths))]
        images = self.images.contiguous(memory_format=torch.channels_last) if self.ours else self.images
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
            losses = self.spread.losses(Batch(names, images, text_features=self.features()), names)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.ours:
            clip_gradients(self.method, float("inf"))
        self.optimiser.step()


def seconds(step: Callable[[], Any], device: torch.device, clock: str) -> float:
    """Time one call, the device's work included."""
    now = CLOCKS[clock]
    begun = now()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return now() - begun


def matrix_rate(device: torch.device, dtype: torch.dtype, clock: str) -> float:
    """Floating-point operations per second of matrix products, of the best of several sizes."""
    rates = []
    for size in SIZES[device.type]:
        one = torch.randn(size, size, device=device, dtype=dtype)
        rates.append(2 * size**3 / min(seconds(lambda one=one: one @ one, device, clock) for _ in range(3)))
    return max(rates)


def faster_precision(device: torch.device) -> str:
    """Name the format that matrix products are faster in."""
    one = {name: torch.randn(256, 256, device=device, dtype=dtype) for name, dtype in DTYPES.items()}
    return min(one, key=lambda name: min(seconds(lambda: one[name] @ one[name], device, "wall") for _ in range(5)))


def child(way: str, precision: str, clock: str) -> None:
    """Build a way and answer questions about it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    step = Step(way, json.loads(sys.stdin.readline()), device, precision)
    serve(step, step.parameters, device, clock, {"rate": lambda: matrix_rate(device, step.dtype, clock)}, way != "compiled")


def serve(
    step: Callable[[], Any],
    parameters: list[nn.Parameter],
    device: torch.device,
    clock: str,
    others: dict[str, Callable[[], Any]],
    counts: bool = True,
) -> None:
    """Answer `go` with the seconds of a step, `end` with memory and operations, `others` with what they return, as JSON."""
    counter = FlopCounterMode(display=False)
    with counter if counts else nullcontext():
        step()
    peak = 0.0
    for line in sys.stdin:
        if line.strip() == "go":
            print(json.dumps(seconds(step, device, clock)), flush=True)
            peak = peak_memory(device)
        elif line.strip() in others:
            print(json.dumps(others[line.strip()]()), flush=True)
        else:
            break
    trainable = sum(parameter.numel() for parameter in parameters)
    print(json.dumps({"memory": peak, "flops": counter.get_total_flops(), "trainable": trainable}), flush=True)


def peak_memory(device: torch.device) -> float:
    """Most bytes so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


@dataclass
class Contender:
    """One way in its own process, and what it has answered.

    Args:
        name: What the table calls it.
        process: It.
        seconds: Of each counted step.
        rates: Of matrix products, one per round.
    """

    name: str
    process: subprocess.Popen[str]
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def ask(self, question: str) -> Any:
        """Write a line and read the answer."""
        _tell(self.process, question)
        return json.loads(_answer(self.process))

    @property
    def median(self) -> float:
        """Seconds of a step."""
        return statistics.median(self.seconds)


def start(script: str, way: str, name: str, lengths: list[int], options: list[str]) -> Contender:
    """Start a way's process: a benchmark's own script as a child."""
    command = [sys.executable, script, "--child", way, *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    _tell(process, json.dumps(lengths))
    return Contender(name, process)


def main(ways: list[str], batch: int, rounds: int, precision: str, threads: int, clock: str) -> None:
    """Run the ways in turn and print the table."""
    lengths = some_of(token_lengths(PADDED), batch)
    options = ["--threads", str(threads), "--precision", precision, "--clock", clock]
    contenders = [start(__file__, way, WAYS[way].format(precision=precision), lengths, options) for way in ways]
    for _ in range(rounds):
        for contender in contenders:
            contender.seconds.append(contender.ask("go"))
            contender.rates.append(contender.ask("rate"))
    said = f"{threads} threads, {clock} clock, median of {rounds} rounds"
    print(f"batch {batch}, {min(lengths)} to {max(lengths)} tokens, {said}\n")
    print("| way | seconds | faster by | images/s | peak memory, GiB | trained, million | MFU |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    found = {way: contender.ask("end") for way, contender in zip(ways, contenders, strict=True)}
    flops = {way: answer["flops"] for way, answer in found.items() if answer["flops"]}
    for way, contender in zip(ways, contenders, strict=True):
        middle, ratio = contender.median, contenders[0].median / contender.median
        own = flops.get("ours" if way == "compiled" else way)
        share = "–" if own is None else f"{own / middle / max(contender.rates):.0%}"
        print(
            f"| {contender.name} | {middle:.2f} | {ratio:.1f} | {batch / middle:.1f} | {found[way]['memory'] / 2**30:.2f} "
            f"| {found[way]['trainable'] / 1e6:.1f} | {share} |"
        )
    print(f"\noperations per image: {', '.join(f'{way} {count / batch / 1e9:.1f} GFLOP' for way, count in flops.items())}")
    print("best matrix product, GFLOP/s:", ", ".join(f"{max(contender.rates) / 1e9:.0f}" for contender in contenders))


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit("a way of stepping failed; its error is above")
    return line


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(USUAL), help="the first one is compared with")
    parser.add_argument("--batch", type=int, default=256 if torch.cuda.is_available() else 8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--precision", choices=list(DTYPES), help="of our ways; default: the faster one here")
    parser.add_argument("--child", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.child:
        child(given.child, given.precision, given.clock)
    else:
        format_ = given.precision or faster_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        main(given.ways, given.batch, given.rounds, format_, given.threads, given.clock)
