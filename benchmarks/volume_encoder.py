"""The volume encoder: volumes per second, peak memory, and what dropping three quarters of the tokens saves.

    .venv/bin/python benchmarks/volume_encoder.py                tiny at 64³ and 96³ on a CPU, M in bf16 at 96³ to 192³ on a GPU
    .venv/bin/python benchmarks/volume_encoder.py --backward     forward and backward, as in training
    … --clock cpu                                                the processor's seconds, on a machine that others use

Weights are random. Whole and dropped run in processes of their own, so that each peak memory is its own, and take turns, round
by round, so that their ratio is of one run. MFU: operations counted from the sizes (three times that with --backward) over
seconds, as a share of the rate of a large matrix product in the same precision and process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import torch

from lingula.models.volume_config import SIZES, VolumeSize
from lingula.models.volume_encoder import VolumeEncoder

KEEP = 0.25
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Clock: TypeAlias = Callable[[], float]


def timed(step: Callable[[], Any], device: torch.device, clock: Clock) -> float:
    """Seconds of one call, the device's work included."""
    begun = clock()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - begun


def matrix_rate(device: torch.device, dtype: torch.dtype, clock: Clock) -> float:
    """Floating-point operations per second of a large matrix product."""
    size = 8192 if device.type == "cuda" else 1024
    one = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / min(timed(lambda: one @ one, device, clock) for _ in range(4))


def work(calls: Connection, size: VolumeSize, side: int, keep: float, batch: int, backward: bool, clock: Clock) -> None:
    """Answer `True` with the seconds of a pass, and `False` with peak memory in bytes and the matrix rate."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    encoder = VolumeEncoder(SIZES[size]).to(device).train(backward)
    volumes = torch.randn(batch, 1, side, side, side, device=device)
    patches = (side // 8) ** 3
    numbers = torch.stack([torch.randperm(patches)[: round(patches * keep)] for _ in range(batch)]).to(device)
    kept = None if keep == 1 else numbers
    half = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()

    def step() -> None:
        with torch.set_grad_enabled(backward), half:
            tokens = encoder.tokens(volumes, kept)
        if backward:
            encoder.zero_grad()
            tokens.float().square().mean().backward()

    while calls.recv():
        calls.send(timed(step, device, clock))
    cuda = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    calls.send((peak, matrix_rate(device, torch.bfloat16 if cuda else torch.float32, clock)))


def measure(size: VolumeSize, side: int, batch: int, rounds: int, backward: bool, clock: Clock) -> None:
    """Print one row for whole volumes and one for the kept quarter."""
    spawn, ends, times = multiprocessing.get_context("spawn"), [], ([], [])
    for keep in (1.0, KEEP):
        ours, theirs = spawn.Pipe()
        spawn.Process(target=work, args=(theirs, size, side, keep, batch, backward, clock), daemon=True).start()
        ends.append(ours)
    for turn in range(rounds + 1):
        for end, taken in zip(ends, times, strict=True):
            end.send(True)
            seconds = end.recv()
            if turn:
                taken.append(seconds)
    for keep, end, taken in zip((1.0, KEEP), ends, times, strict=True):
        end.send(False)
        peak, rate = end.recv()
        middle = statistics.median(taken)
        flops = batch * SIZES[size].forward_flops((side,) * 3, keep) * (3 if backward else 1)
        tokens, ratio = round((side // 8) ** 3 * keep), middle / statistics.median(times[0])
        shares = f"{batch / middle:.2f} | {ratio:.2f} | {peak / 2**30:.2f} | {flops / middle / rate:.0%}"
        print(f"| {size} | {side}³ | {tokens:,} | {shares} |")


def main() -> None:
    """Measure every size of the device at hand."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="M" if cuda else "tiny")
    parser.add_argument("--sides", type=int, nargs="+", default=[96, 128, 160, 192] if cuda else [64, 96])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    given = parser.parse_args()
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}, batch {given.batch}, {'bf16' if cuda else 'fp32'}, median of {given.rounds} rounds\n")
    print("| encoder | volume | tokens | volumes/s | time / whole | peak memory, GiB | MFU |")
    print("| --- " * 7 + "|")
    for side in given.sides:
        measure(given.size, side, given.batch, given.rounds, given.backward, CLOCKS[given.clock])


if __name__ == "__main__":
    main()
