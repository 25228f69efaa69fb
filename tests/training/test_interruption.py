from __future__ import annotations

import signal

import pytest

from lingula.training.interruption import StopRequest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request_and_the_second_the_end(number: signal.Signals) -> None:
    def end(*_: object) -> None:
        raise SystemExit(number)

    before = signal.signal(number, end)
    try:
        with StopRequest() as stop:
            assert not stop.requested
            signal.raise_signal(number)
            assert stop.requested
            with pytest.raises(SystemExit):
                signal.raise_signal(number)
        with StopRequest() as stop:
            pass
        assert not stop.requested
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
