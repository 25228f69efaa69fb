"""Trying again what a disk or a network refused for a moment."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

PASSING = frozenset(
    (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN, errno.EREMOTEIO, errno.ENOTCONN, errno.ECONNRESET),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
    )
)
"""What a shared disk answers while its server restarts or a cable is pulled; a full disk or a missing file does not pass."""
PAUSES = (0.2, 1.0)
"""Seconds before the second and the third attempt. Ours."""


def patiently(action: Callable[[], Result]) -> Result:
    """Return what an action returns, tried up to three times where it fails with an error that may pass."""
    for pause in PAUSES:
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
            time.sleep(pause)
    return action()


def may_pass(error: BaseException) -> bool:
    """Whether an error, or the one that it was raised from, is the system's and of the kind that passes."""
    return any(isinstance(each, OSError) and each.errno in PASSING for each in (error, error.__cause__))
