"""Fixtures that several test files need."""

from __future__ import annotations

from pathlib import Path

import pytest

from lingula.core.offline import go_offline

go_offline()

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real sample data beside the checkout; tests that need it skip loudly where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"REAL DATA NOT TESTED: {SHARED} is absent")
    return SHARED
