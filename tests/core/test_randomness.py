from __future__ import annotations

import numpy as np
import pytest

from lingula.core.randomness import keyed_uniforms, random_generator, random_key


def test_every_part_counts_and_parts_do_not_run_together() -> None:
    keys = {random_key(*parts) for parts in [(1, 23), (12, 3), (123,), (1, 2, 3), ("1", "2", "3x"), (0, 1, 23)]}
    assert len(keys) == 6
    assert all(0 <= key < 2**63 for key in keys)
    assert random_key(1, "a") == random_key(1, "a") == 475944544596965755


def test_generators_of_one_key_agree() -> None:
    assert random_generator(1, "x").random() == random_generator(1, "x").random()
    assert random_generator(1, "x").random() != random_generator(2, "x").random()


def test_uniforms_are_uniform_and_independent() -> None:
    draws = np.stack([keyed_uniforms(12, 0, 0, f"row-{row}") for row in range(4000)])
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(draws.mean(0) - 0.5).max() < 0.02
    assert np.abs(draws.var(0) - 1 / 12).max() < 0.005
    assert np.abs(np.corrcoef(draws.T) - np.eye(12)).max() < 0.07
    with pytest.raises(ValueError, match="16"):
        keyed_uniforms(17, 0)
