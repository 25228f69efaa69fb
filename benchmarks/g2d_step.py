"""One G2D step at real shapes: as the official code takes it, and as ours does, part by part.

    .venv/bin/python benchmarks/g2d_step.py                              batch 4 on a CPU, 64 on a GPU where there is one
    .venv/bin/python benchmarks/g2d_step.py --threads 1 --clock cpu      on a machine that is busy with other things

ResNet-50 U-Net at 256 pixels, BERT-base with random weights of which 9 layers are frozen, report lengths as in
`training_step.py`, cut at 256 tokens. Each way runs in a process of its own, so that its peak memory is its own; the ways take
turns, round by round. All are in fp32 on a CPU and under bf16 autocast on a GPU (`--precision`), so that the ratio is that
of the work and not of the number format. The cache of hidden states is no feature of the package: it is emulated here, in half
precision in a file, to see whether it would pay.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))
from training_step import CLOCKS, DTYPES, seconds, serve, some_of, start, token_lengths

from lingula.core.batch import Batch, Tokens
from lingula.core.distributed import World
from lingula.methods.g2d import G2D
from lingula.methods.g2d_config import PRESETS, G2DConfig
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling
from lingula.training.config import OptimisationConfig
from lingula.training.memory_layout import lay_out
from lingula.training.optimisation import build_optimiser
from lingula.training.parallel import Spread, clip_gradients

SIDE, PADDED, FROZEN_LAYERS, REPORTS = 256, 256, 9, 217_000
"""Reports: about as many as MIMIC-CXR has with text."""
WAYS = {
    "official": "256 padded tokens, gradient into the embeddings, quantile per image in numpy",
    "dynamic": "padded to the longest of the batch, masks batched on the device",
    "ours": "the same, embeddings without gradient, the loop's memory layout, fused AdamW: its own step",
    "cached": "the same, hidden states of the frozen layers from a file",
}


class OfficialMasks(G2D):
    """Pseudo masks as the official trainer makes them: on the CPU, image by image, in numpy."""

    def make_masks(self, attention: Tensor, images: Tensor) -> Tensor:
        """Mean of the heads, nearest neighbour, above the quantile of each map."""
        maps = attention.detach().cpu().sum(dim=1, keepdim=True) / attention.shape[1]
        large = nn.functional.interpolate(maps.float(), images.shape[-2:], mode="nearest").numpy()
        masks = [(one > np.quantile(one, 0.85)).astype(np.float32) for one in large]
        return torch.from_numpy(np.stack(masks)).to(images.device)


class UpperLayers(nn.Module):
    """The trained layers of a BERT, on hidden states of the frozen ones that a file holds.

    Args:
        model: The whole BERT; its lower layers are run once, to write the file.
        tokens: The batch whose states are kept; every call is about this batch.
    """

    def __init__(self, model: Any, tokens: Tokens) -> None:
        super().__init__()
        self.config, self.tokens = model.config, tokens
        with torch.no_grad():
            states = model(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True).hidden_states
        self.file = tempfile.NamedTemporaryFile(suffix=".states")  # noqa: SIM115
        states[FROZEN_LAYERS].half().cpu().numpy().tofile(self.file.name)
        self.shape = tuple(states[FROZEN_LAYERS].shape)
        self.layers = nn.ModuleList(list(model.encoder.layer)[FROZEN_LAYERS:])
        with torch.no_grad():
            again = self(tokens.ids, tokens.mask).last_hidden_state
        torch.testing.assert_close(again[tokens.mask], states[-1][tokens.mask], atol=2e-2, rtol=2e-2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **others: Any) -> Any:
        """Read the states and run the layers above."""
        kept = np.fromfile(self.file.name, np.float16).reshape(self.shape)
        states = torch.from_numpy(kept).to(input_ids.device).float()
        shut = torch.zeros(attention_mask.shape, device=states.device).masked_fill(attention_mask == 0, -torch.inf)
        for layer in self.layers:
            given = layer(states, attention_mask=shut[:, None, None])
            states = given if isinstance(given, Tensor) else given[0]
        return SimpleNamespace(last_hidden_state=states, hidden_states=None)


class Step:
    """One optimiser step, one way.

    Args:
        way: A key of `WAYS`.
        lengths: Tokens of each report of the batch.
        device: Where.
        precision: Of autocast; fp32: none.
    """

    def __init__(self, way: str, lengths: list[int], device: torch.device, precision: str) -> None:
        torch.manual_seed(0)
        self.way, self.device, self.dtype = way, device, DTYPES[precision]
        self.ours = way in ("ours", "cached")
        width = PADDED if way == "official" else max(lengths)
        mask = torch.arange(width) < torch.tensor(lengths)[:, None]
        self.tokens = Tokens(torch.randint(1000, 20_000, mask.shape).masked_fill(~mask, 0).to(device), mask.to(device))
        config = G2DConfig.from_values(PRESETS["released"]["method"] | {"dense_warmup": 0}, "benchmark")
        if way != "official":
            config = config.model_copy(update={"text_positions": "real"})
        encoder = RadiographEncoder(ImageEncoderConfig(name="resnet50.tv_in1k", channels=3))
        kind = OfficialMasks if way == "official" else G2D
        self.method = kind(config, encoder, SIDE, 768, self._text()).to(device).train()
        self.method.at_step(1, 100)
        self.images = torch.randn(len(lengths), 1, SIDE, SIDE, device=device)
        if self.ours:
            lay_out(self.method, precision, device)
            self.images = self.images.contiguous(memory_format=torch.channels_last)
        plan = OptimisationConfig(learning_rate=2e-5)
        self.spread = Spread(self.method, plan, "ddp", World(), trains_text=True)
        self.parameters = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        plain = torch.optim.AdamW(self.parameters, lr=2e-5, weight_decay=1e-8, foreach=True)
        self.optimiser = build_optimiser(self.method, plan) if self.ours else plain

    def _text(self) -> TextEncoder:
        from transformers import BertConfig, BertModel

        model: Any = BertModel(BertConfig(), add_pooling_layer=False)
        tokeniser = SimpleNamespace(model_max_length=512, pad_token_id=0)
        text = TextEncoder(model, tokeniser, Pooling(kind="cls"), frozen=False)
        text.train_partly(FROZEN_LAYERS, frozen_embeddings=self.ours, dropout=False)
        if self.way == "cached":
            text.model = UpperLayers(model.to(self.device).eval(), self.tokens)
        return text

    def __call__(self) -> None:
        """Forward, backward, update."""
        names = [str(place) for place in range(len(self.images))]
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            losses = self.spread.losses(Batch(names, self.images, tokens=self.tokens), names)
        self.optimiser.zero_grad(set_to_none=True)
        losses.total.backward()
        if self.ours:
            clip_gradients(self.method, math.inf)
        self.update()

    def update(self) -> None:
        """The optimiser's part."""
        self.optimiser.step()

    def text(self) -> None:
        """The text's part: forward and backward."""
        batch = Batch([], None, tokens=self.tokens)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            latents = self.method._text_latents(batch)
        latents.float().square().mean().backward()

    def masks(self) -> None:
        """The mask processor's part."""
        side = SIDE // 32
        attention = torch.rand(len(self.images), self.method.config.heads, side, side, device=self.device)
        self.method.make_masks(attention, self.images)

    def parts(self, clock: str) -> dict[str, float]:
        """Seconds of the parts that can be run alone."""
        return {name: seconds(getattr(self, name), self.device, clock) for name in ("text", "masks", "update")}


def child(way: str, precision: str, clock: str) -> None:
    """Build a way and answer questions about it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    step = Step(way, json.loads(sys.stdin.readline()), device, precision)
    serve(step, step.parameters, device, clock, {"parts": lambda: step.parts(clock)})


def main(ways: list[str], batch: int, rounds: int, precision: str, threads: int, clock: str) -> None:
    """Run the ways in turn and print the tables."""
    every = token_lengths(PADDED)
    lengths = some_of(every, batch)
    options = ["--threads", str(threads), "--precision", precision, "--clock", clock]
    contenders = [start(__file__, way, WAYS[way], lengths, options) for way in ways]
    parts: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way, contender in zip(ways, contenders, strict=True):
            contender.seconds.append(contender.ask("go"))
            if number % 2 == 0:
                parts[way].append(contender.ask("parts"))
            print(f"round {number + 1}, {way}: {contender.seconds[-1]:.2f} s", file=sys.stderr, flush=True)
    said = f"{precision}, {threads} threads, {clock} clock, median of {rounds} rounds"
    print(f"batch {batch}, {min(lengths)} to {max(lengths)} tokens, {said}\n")
    print("| way | seconds | faster by | of it text | masks | update | rest | peak memory, GiB | GFLOP |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for way, contender in zip(ways, contenders, strict=True):
        found, middle = contender.ask("end"), contender.median
        own = {name: statistics.median(each[name] for each in parts[way]) for name in parts[way][0]}
        rest = middle - sum(own.values())
        print(
            f"| {contender.name} | {middle:.2f} | {contenders[0].median / middle:.2f} | {own['text']:.2f} | {own['masks']:.4f} "
            f"({own['masks'] / middle:.2%}) | {own['update']:.2f} | {rest:.2f} | {found['memory'] / 2**30:.2f} "
            f"| {found['flops'] / 1e9:.0f} |",
            flush=True,
        )
    print("\n" + cache_size(statistics.mean(every)))


def cache_size(tokens: float) -> str:
    """Say what a cache of the frozen layers' states would take on disk, in half precision.

    Args:
        tokens: Of a report, in the mean.
    """
    size = tokens * 768 * 2
    return (
        f"cache: {tokens:.0f} tokens a report, {size / 1000:.0f} kB each, {size * REPORTS / 1e9:.1f} GB for {REPORTS:,} reports"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS), help="the first one is compared with")
    parser.add_argument("--batch", type=int, default=64 if torch.cuda.is_available() else 4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--precision", choices=list(DTYPES), default="bf16" if torch.cuda.is_available() else "fp32")
    parser.add_argument("--child", choices=list(WAYS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.child:
        child(given.child, given.precision, given.clock)
    else:
        main(given.ways, given.batch, given.rounds, given.precision, given.threads, given.clock)
