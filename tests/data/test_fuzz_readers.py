"""Damaged files by the hundred: each is read or refused with a reason, none crashes, hangs or takes much memory."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from mutations import read_mutated


@pytest.mark.parametrize(
    ("count", "rounds"), [(100, 1), pytest.param(2000, 8, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_every_damaged_file_is_read_or_refused_with_a_reason(tmp_path: Path, count: int, rounds: int) -> None:
    outcomes = Counter[str]()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(rounds, 2), mp_context=context) as pool:
        futures = [pool.submit(read_mutated, seed, count, tmp_path) for seed in range(rounds)]
        for future in futures:
            try:
                outcomes += future.result()
            except BrokenProcessPool:
                pytest.fail(f"a reader crashed or hung; its file is one of {sorted(map(str, tmp_path.iterdir()))}")
    print(f"{outcomes.total()} damaged files: {outcomes['read']} read, {outcomes.total() - outcomes['read']} refused")
    for reason, number in outcomes.most_common():
        print(f"{number:>6}  {reason}")
    assert outcomes.total() == count * rounds
    assert outcomes["read"] >= 0.1 * outcomes.total()
    assert len(outcomes) >= 8
    assert all(reason.isprintable() and len(reason) < 200 for reason in outcomes)
