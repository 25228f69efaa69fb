from __future__ import annotations

import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AUDIT = runpy.run_path(str(ROOT / "tools/audit.py"))


def test_every_locked_distribution_has_a_hash_and_a_missing_one_is_seen() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    assert AUDIT["without_hash"](lock) == []
    package = next(each for each in lock["package"] if each.get("wheels"))
    del package["wheels"][-1]["hash"]
    assert AUDIT["without_hash"](lock) == [f"{package['name']} {package['version']}"]


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-only", "AGPLv3", "LGPL-2.1", "MIT AND GPL-2.0-or-later", "GNU Affero General Public License v3", ""],
)
def test_copyleft_and_silence_are_refused_unless_allowed(licence: str) -> None:
    assert len(AUDIT["licence_problems"]([("one", licence), ("two", "MIT")])) == 1
    assert AUDIT["licence_problems"]([("one", licence)], allowed=["one"]) == []


@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0 WITH LLVM-exception", "Mozilla Public License 2.0 (MPL 2.0)"])
def test_permissive_licences_pass(licence: str) -> None:
    assert AUDIT["licence_problems"]([("one", licence)]) == []


def test_what_is_installed_has_a_licence_that_is_allowed() -> None:
    """A dependency that comes without one is seen here, before anybody runs `make audit`."""
    assert AUDIT["licence_problems"](AUDIT["licences_installed"]()) == []


def test_an_unreachable_database_is_told_and_fails_only_where_it_is_required() -> None:
    unreachable = "error: error sending request for url (https://api.osv.dev)"
    assert AUDIT["verdict"](2, unreachable, False) == (True, AUDIT["UNREACHABLE"])
    assert AUDIT["verdict"](2, unreachable, True) == (False, AUDIT["UNREACHABLE"])
    assert AUDIT["verdict"](1, "pillow 1.0: CVE-1", False) == (False, "pillow 1.0: CVE-1")
    assert AUDIT["verdict"](0, "nothing known\n", True) == (True, "nothing known")
