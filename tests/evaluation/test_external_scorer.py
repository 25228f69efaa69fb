from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.external_scorer import run_scorer, try_scorer

TOY = """
import json, sys
lines = [json.loads(line) for line in sys.stdin]
for line in reversed(lines):
    said, true = set(line["candidate"].split()), set(line["reference"].split())
    print(json.dumps({"id": line["id"], "scores": {"share": len(said & true) / len(true), "words": len(said)}}))
"""


def scorer(folder: Path, code: str) -> str:
    file = folder / "a scorer.py"
    file.write_text(code)
    return f"toy={shlex.join([sys.executable, str(file)])}"


def test_a_scorer_of_its_own_scores_each_report(tmp_path: Path) -> None:
    found = run_scorer(scorer(tmp_path, TOY), ["a b", "c é\nd"], ["a c", "c d"], 1)
    np.testing.assert_array_equal(found["toy share"], [0.5, 1.0])
    np.testing.assert_array_equal(found["toy words"], [2, 3])
    try_scorer(scorer(tmp_path, TOY), 1)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import sys; sys.exit('no weights at x.ckpt')", "failed with exit code 1: no weights at x.ckpt"),
        ("print('loading')", "wrote a line that is no answer: loading"),
        (TOY.replace("reversed(lines)", "lines[1:]"), "answered for 3 reports of 4"),
        (TOY.replace("len(said)}", "float('nan')}"), "gave a score that is not finite"),
        (TOY.replace('"words"', 'line["id"]'), "does not give every report the same scores"),
        ("import time; time.sleep(60)", "took more than 0.02 minutes"),
    ],
)
def test_what_is_wrong_with_a_scorer_is_one_line(tmp_path: Path, code: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as raised:
        try_scorer(scorer(tmp_path, code), 0.02 if "sleep" in code else 1)
    assert "\n" not in str(raised.value.problem)


def test_a_scorer_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the scorer radgraph cannot be run: No such file"):
        try_scorer(f"radgraph={tmp_path}/python score.py", 1)
    with pytest.raises(UserError, match="cannot be read"):
        try_scorer("x=python 'a", 1)
