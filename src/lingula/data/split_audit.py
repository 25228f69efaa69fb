"""Whether the splits of a public data set are apart: patients, identical images, identical reports."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

from lingula.core.files import sha256_of, sha256_of_file
from lingula.core.progress import track
from lingula.data.sources.public import PublicSource
from lingula.data.splits import SPLITS
from lingula.data.study import Split
from lingula.data.text.normalise import normalise_text

COUNTED = ("images", "frontal", "studies", "patients")
Overlap = dict[tuple[Split, Split], int]
"""How many things are in both of two splits; pairs that share nothing are left out."""


@dataclass(frozen=True)
class Audit:
    """What the splits of a data set hold, and what they share.

    Args:
        counts: Split to `images`, `frontal`, `studies`, `patients`.
        patients: Patients in two splits.
        reports: Distinct reports, after normalisation, in two splits.
        images: Distinct image files, or series of slices, by hash, in two splits; None: not looked at.
        skipped: What was left out, by reason.
    """

    counts: dict[Split, dict[str, int]]
    patients: Overlap
    reports: Overlap
    images: Overlap | None
    skipped: dict[str, int] = field(default_factory=dict)


def audit(source: PublicSource, hash_images: bool = False) -> Audit:
    """Compare the splits of a data set; walk through it once where there are reports or images to compare.

    Args:
        source: The data set, split by one of its rules.
        hash_images: Also compare the image files, of series all slices, which reads every byte of them.
    """
    counts: dict[Split, Counter[str]] = {split: Counter() for split in SPLITS}
    patients: defaultdict[str, set[Split]] = defaultdict(set)
    for case, split in source.cases():
        if split is not None:
            counts[split].update(
                studies=1, images=case.images, frontal=case.frontal, patients=split not in patients[case.patient_id]
            )
            patients[case.patient_id].add(split)
    reports, images = _walk(source, hash_images) if source.reports or hash_images else ({}, {})
    return Audit(
        counts={
            split: {name: count[name] for name in ("images", "frontal", "studies", "patients")} for split, count in counts.items()
        },
        patients=_overlap(patients),
        reports=_overlap(reports),
        images=_overlap(images) if hash_images else None,
        skipped=dict(source.skipped),
    )


def _walk(source: PublicSource, hash_images: bool) -> tuple[Mapping[str, set[Split]], Mapping[str, set[Split]]]:
    """Return the splits of every distinct report and of every distinct image file."""
    reports, images = (defaultdict[str, set[Split]](set) for _ in range(2))
    for study in track(source, "auditing", len(source)):
        if study.split is None:
            continue
        text = normalise_text(study.report.text) if study.report else ""
        if text:
            reports[text].add(study.split)
        if hash_images:
            for image in study.images:
                images[_hash_of(source.files(image))].add(study.split)
    return reports, images


def _hash_of(files: Sequence[Path]) -> str:
    """Return the hash of an image: of a series that of its slices' hashes, whatever their names."""
    hashes = sorted(sha256_of_file(path) for path in files)
    return hashes[0] if len(hashes) == 1 else sha256_of(" ".join(hashes))


def audit_lines(source: PublicSource, result: Audit) -> Iterator[str]:
    """Yield what an audit found, line by line, with what is known about the split."""
    yield f"{'':<8}" + "".join(f"{name:>12}" for name in (*COUNTED, "published"))
    sizes = source.rule.sizes if source.config.split_lists is None else None
    for place, split in enumerate(SPLITS):
        printed = f"{sizes[place]:,}" if sizes else "-"
        yield f"{split:<8}" + "".join(f"{count:>12,}" for count in result.counts[split].values()) + f"{printed:>12}"
    if sizes:
        held = tuple(result.counts[split]["images"] for split in SPLITS)
        same = "as published" if held == sizes else f"published are {' / '.join(f'{size:,}' for size in sizes)} images"
        yield f"sizes: {same} ({source.rule.source})"
    for reason, count in result.skipped.items():
        yield f"left out: {count:,} × {reason}"
    yield _told("patients", result.patients)
    yield _told("distinct reports", result.reports)
    yield "images: not compared (--hash-images reads them all)" if result.images is None else _told("images", result.images)
    yield from known_lines(source)


def known_lines(source: PublicSource | type[PublicSource], rule: str = "") -> Iterator[str]:
    """Yield what is known about a data set and one of its splits before anything is looked at."""
    chosen = source.rules[rule] if rule else getattr(source, "rule", None)
    if chosen is not None and chosen.leak:
        yield f"KNOWN LEAK: {chosen.leak}. By patient: --split {chosen.instead}"
    yield from (f"known: {note}" for note in source.notes)


def _told(what: str, overlap: Overlap) -> str:
    if not overlap:
        return f"{what}: in one split each"
    return f"{what.upper()} IN TWO SPLITS: " + ", ".join(f"{a} and {b}: {count:,}" for (a, b), count in overlap.items())


def _overlap(found: Mapping[str, set[Split]]) -> Overlap:
    counts: Overlap = {}
    for pair in combinations(SPLITS, 2):
        both = sum(set(pair) <= splits for splits in found.values())
        if both:
            counts[pair] = both
    return counts
