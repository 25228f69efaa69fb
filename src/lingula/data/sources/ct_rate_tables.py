"""The tables of CT-RATE: reports, findings, metadata; rows put together by scan, reconstructions chosen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from lingula.core.errors import UserError
from lingula.data.sources.sidecar import numbers_in
from lingula.data.sources.tables import Row

Part = Literal["train", "valid"]
IN_PLANE, BETWEEN = "XYSpacing", "ZSpacing"
FINDINGS_TEXT = "Findings_EN"
SECTIONS = {
    "ClinicalInformation_EN": "indication",
    "Technique_EN": "technique",
    FINDINGS_TEXT: "findings",
    "Impressions_EN": "impression",
}
"""Column to section."""
ENDING = ".nii.gz"
BROKEN = frozenset(
    {
        *("train_11755_a_2", "train_11755_a_3", "train_11755_a_4", "train_1267_a_4", "train_3821_a_5"),
        *("train_9792_a_1", "train_9792_a_2", "train_9792_a_3", "train_9792_a_4"),
    }
)
"""Reconstructions whose header is broken (a direction that has no inverse, a size of zero), as their users list them."""
_VOLUME = re.compile(r"((train|valid)_\d+)_([a-z]+)_(\d+)")


@dataclass
class CtRateScan:
    """One scan: its reconstructions and its report.

    Args:
        name: e.g. `train_53_a`.
        patient: e.g. `train_53`.
        part: The published split.
        report: Its row of the table of reports.
        labels: Finding to 1 or 0; empty where the table of findings has no row about it.
        volumes: Reconstructions, e.g. `train_53_a_1`, in the order of their numbers.
    """

    name: str
    patient: str
    part: Part
    report: Row
    labels: dict[str, Literal[1, 0]] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)


def scans_of(reports: Iterable[Row], part: Part, skip: Counter[str]) -> list[CtRateScan]:
    """Put the rows of one table of reports together by scan; broken reconstructions are counted in `skip` and left out.

    Raises:
        UserError: A VolumeName is none of CT-RATE's.
    """
    scans: dict[str, CtRateScan] = {}
    for row in reports:
        volume = row["VolumeName"].removesuffix(ENDING)
        parts = _VOLUME.fullmatch(volume)
        if parts is None or parts[2] != part:
            problem = f"VolumeName {row['VolumeName']!r} is none of CT-RATE's {part} split"
            raise UserError(problem, f"They are called {part}_53_a_1{ENDING}. Is it the published table?")
        if volume in BROKEN:
            skip["volume that is known to be broken"] += 1
            continue
        name = volume.rpartition("_")[0]
        scan = scans.setdefault(name, CtRateScan(name, parts[1], part, row))
        if any(scan.report.get(column) != row.get(column) for column in SECTIONS):
            skip["report of a reconstruction that differs from its scan's first"] += 1
        scan.volumes.append(volume)
    for scan in scans.values():
        scan.volumes.sort(key=lambda volume: int(volume.rpartition("_")[2]))
    return list(scans.values())


def listed_scans(lines: Iterable[str]) -> set[str]:
    """Return the scans that a list of volumes or scans names, a path a line."""
    names = (line.strip().rpartition("/")[2].removesuffix(ENDING) for line in lines if line.strip())
    return {name.rpartition("_")[0] if _VOLUME.fullmatch(name) else name for name in names}


def colipri_scans(scans: Iterable[CtRateScan], metadata: dict[str, Row], skip: Counter[str]) -> Iterator[CtRateScan]:
    """Yield the scans of COLIPRI's evaluation set (arXiv 2510.15042, as RadFinder's code makes it).

    Of each report the reconstruction with the smallest in-plane voxels stays, of equal ones the first; then reports whose
    Findings_EN repeat an earlier one's of the same split are dropped (which one of them stays is ours). An unknown voxel size
    counts as the largest.

    Args:
        scans: All scans of one split.
        metadata: Reconstruction to its row of the table of metadata.
        skip: Counts what is left out.
    """
    seen: set[str] = set()
    for scan in scans:
        finest = min(scan.volumes, key=lambda volume: _in_plane(metadata.get(volume)))
        skip["reconstruction with larger voxels than another one of its scan"] += len(scan.volumes) - 1
        text = scan.report[FINDINGS_TEXT]
        if text in seen:
            skip["scan whose findings repeat another one's"] += 1
            continue
        seen.add(text)
        scan.volumes = [finest]
        yield scan


def _in_plane(row: Row | None) -> float:
    sizes = numbers_in(row, (IN_PLANE,)) if row is not None else []
    return max(sizes, default=float("inf"))
