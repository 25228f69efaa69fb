from __future__ import annotations

import errno

import pytest

from lingula.core import patience
from lingula.core.patience import may_pass, patiently


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", slept.append)
    return slept


def failing(times: int, error: Exception) -> list[Exception]:
    return [error] * times


@pytest.mark.parametrize("times", [0, 1, 2])
def test_a_hiccup_is_tried_again_after_a_longer_pause_each(times: int, pauses: list[float]) -> None:
    errors = failing(times, OSError(errno.ESTALE, "stale"))

    def action() -> str:
        if errors:
            raise errors.pop()
        return "done"

    assert patiently(action) == "done"
    assert pauses == list(patience.PAUSES[:times])


def test_the_third_failure_is_raised(pauses: list[float]) -> None:
    errors = failing(5, OSError(errno.EIO, "broken"))
    with pytest.raises(OSError, match="broken"):
        patiently(lambda: (_ for _ in ()).throw(errors.pop()))
    assert len(errors) == 2
    assert pauses == list(patience.PAUSES)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), FileNotFoundError(errno.ENOENT, "none"), ValueError("no"), OSError("cut")]
)
def test_what_does_not_pass_is_raised_at_once(error: Exception, pauses: list[float]) -> None:
    errors = failing(3, error)
    with pytest.raises(type(error)):
        patiently(lambda: (_ for _ in ()).throw(errors.pop()))
    assert (len(errors), pauses) == (2, [])


def test_the_cause_counts_and_what_came_before_it_does_not() -> None:
    told = ValueError("unreadable")
    told.__cause__ = OSError(errno.EIO, "broken")
    assert may_pass(told)
    told.__context__, told.__cause__ = told.__cause__, None
    assert not may_pass(told)
