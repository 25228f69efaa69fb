"""Scorers of reports that live in an environment of their own: a command that reads and writes JSON lines.

To its standard input goes one line per report, `{"id": "17", "candidate": "…", "reference": "…"}`; from its standard output
comes one line per report, in any order, `{"id": "17", "scores": {"f1": 0.62}}`: the same names for every report, finite numbers.
What it writes to standard error is its own. See docs/how-to/report-scorers.md for RadGraph, CheXbert, GREEN and RadFact-CT.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
from collections.abc import Sequence

import numpy as np

from lingula.core.errors import UserError
from lingula.evaluation.arrays import PerQuery

TRIAL = ("No pleural effusion.", "Small pleural effusion on the left.")
"""What a scorer is asked before reports are generated, against itself and crosswise."""
SHOWN = 160
"""Characters of a scorer's own last line that an error shows."""


def split_scorer(text: str) -> tuple[str, list[str]]:
    """Split NAME=COMMAND; the command is not run by a shell.

    >>> split_scorer("radgraph=envs/radgraph/bin/python score.py --gpu 0")
    ('radgraph', ['envs/radgraph/bin/python', 'score.py', '--gpu', '0'])
    """
    name, _, command = text.partition("=")
    try:
        return name, shlex.split(command)
    except ValueError as error:
        raise UserError(f"the command of the scorer {name} cannot be read ({error})", "Mind its quotation marks.") from None


def try_scorer(text: str, minutes: float) -> None:
    """Ask a scorer about two short reports, so that what is wrong with it shows before the long work.

    Raises:
        UserError: It cannot be run, or does not answer as it should.
    """
    run_scorer(text, TRIAL * 2, [*TRIAL, *TRIAL[::-1]], minutes)


def run_scorer(text: str, candidates: Sequence[str], references: Sequence[str], minutes: float) -> dict[str, PerQuery]:
    """Score reports by a command.

    Args:
        text: NAME=COMMAND.
        candidates: What was generated.
        references: What is true, one for each.
        minutes: How long it may take.

    Returns:
        `NAME score` to one number per report.

    Raises:
        UserError: It cannot be run, fails, takes too long, or does not answer as it should.
    """
    name, command = split_scorer(text)
    pairs = enumerate(zip(candidates, references, strict=True))
    lines = [json.dumps({"id": str(number), "candidate": said, "reference": true}) for number, (said, true) in pairs]
    remedy = f"Run it by hand: {shlex.join(command)}"
    try:
        done = subprocess.run(
            command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60 * minutes, check=False
        )
    except OSError as error:
        raise UserError(f"the scorer {name} cannot be run: {error.strerror}", remedy) from None
    except subprocess.TimeoutExpired:
        raise UserError(f"the scorer {name} took more than {minutes:g} minutes", "Raise --generate.scorer-minutes.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][-SHOWN:]
        raise UserError(f"the scorer {name} failed with exit code {done.returncode}: {last}", remedy)
    answers = _read(name, done.stdout, len(lines))
    return {f"{name} {score}": np.array([answers[number][score] for number in range(len(lines))]) for score in answers[0]}


def _read(name: str, output: str, count: int) -> dict[int, dict[str, float]]:
    """Read a scorer's answers, by number of the report."""
    remedy = 'It must write one line {"id": "…", "scores": {"name": number}} for each line that it reads.'
    answers: dict[int, dict[str, float]] = {}
    for line in filter(str.strip, output.splitlines()):
        try:
            answer = json.loads(line)
            scores = {str(key): float(value) for key, value in answer["scores"].items()}
            number = int(answer["id"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(f"the scorer {name} wrote a line that is no answer: {line[:SHOWN]}", remedy) from None
        if not all(map(math.isfinite, scores.values())):
            raise UserError(f"the scorer {name} gave a score that is not finite for report {number}", remedy)
        answers[number] = scores
    if answers.keys() != set(range(count)):
        raise UserError(f"the scorer {name} answered for {len(answers)} reports of {count}", remedy)
    if not count or len({tuple(sorted(scores)) for scores in answers.values()}) != 1 or not answers[0]:
        raise UserError(f"the scorer {name} does not give every report the same scores", remedy)
    return answers
