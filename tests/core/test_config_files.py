"""Configuration files that are no configuration: one clear line, at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from lingula.core.config import read_yaml
from lingula.core.errors import UserError
from lingula.data.prepare_config import PrepareConfig

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGES = "m0: &m0 {k: 1}\n" + "".join(f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 10)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "more than 100,000 values once its aliases are written out"),
        (MERGES, "more than 100,000 values"),
        ("a: &a [*a]\n", "more than 100,000 values"),
        ("x: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML"),
        ("a: !!python/object/apply:os.system [true]\n", "is not valid YAML"),
        ("a: 2026-13-45\n", "is not valid YAML"),
        ("a: \0\n", "is not valid YAML"),
        ("- 1\n", "does not hold a mapping"),
        ("", "does not hold a mapping"),
    ],
    ids=["aliases", "merges", "circle", "nested", "two", "python", "date", "control", "list", "empty"],
)
def test_a_hostile_file_is_one_clear_line_at_once(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    began = time.monotonic()
    with pytest.raises(UserError, match=said) as refused:
        read_yaml(tmp_path / "a.yaml")
    assert time.monotonic() - began < 20
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_what_is_no_text_or_no_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(UserError, match="is not valid YAML"):
        read_yaml(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="cannot read"):
        read_yaml(tmp_path)


def test_ordinary_aliases_are_written_out(tmp_path: Path) -> None:
    text = "base: &base {size: 64, bit_depth: 16}\none: *base\ntwo:\n  <<: *base\n  size: 32\n"
    (tmp_path / "a.yaml").write_text(text)
    assert read_yaml(tmp_path / "a.yaml") == yaml.safe_load(text)
    assert read_yaml(tmp_path / "a.yaml")["two"] == {"size": 32, "bit_depth": 16}


def test_a_long_wrong_value_is_not_repeated_in_full() -> None:
    with pytest.raises(UserError) as refused:
        PrepareConfig.from_values({"size": ["x" * 100] * 1000}, "settings")
    assert len(str(refused.value)) < 600
