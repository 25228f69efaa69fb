from __future__ import annotations

import pytest

from lingula.core.errors import UserError
from lingula.evaluation.extras import need_packages


def test_a_package_that_is_not_there_is_named_with_its_extra() -> None:
    need_packages("segment", "ct", "numpy", "json")
    with pytest.raises(UserError, match="segment needs no_such_package, which is not installed") as raised:
        need_packages("segment", "ct", "numpy", "no_such_package")
    assert 'pip install "lingula[ct]"' in str(raised.value.remedy)
