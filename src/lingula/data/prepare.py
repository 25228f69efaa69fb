"""From a source to a store: checked, split by patient, read in a process pool, written shard by shard, resumable."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.core.files import explained_writing, read_json, write_json
from lingula.core.lock import locked
from lingula.core.progress import ProgressBar
from lingula.core.task_pool import Workers
from lingula.data.identifiers import claim_pseudonyms
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig, ShardConfig
from lingula.data.shard_pool import ShardPool
from lingula.data.shards import shard_fingerprint, shard_is_whole
from lingula.data.splits import note_split, split_of
from lingula.data.store_place import claim, put_in_place
from lingula.data.store_schema import SHARDS_FOLDER, STORE_FILE, shard_name
from lingula.data.store_summary import summarise_store
from lingula.data.study import Source, Split, Study


@dataclass(frozen=True)
class PrepareSummary:
    """What a finished store holds.

    Args:
        store: Its folder.
        counts: Images, studies, patients, and images with text, in all and per split (keys `all`, `train`, `val`, `test`).
        findings: Per finding, how many images are labelled present, absent, uncertain.
        quarantined: How many items could not be read.
        reasons: Why, with how often, most frequent first.
        shards_written: Shards made by this call.
        shards_kept: Shards that were finished before.
    """

    store: Path
    counts: dict[str, dict[str, int]]
    findings: dict[str, dict[str, int]]
    quarantined: int
    reasons: dict[str, int]
    shards_written: int
    shards_kept: int


@dataclass
class _Plan:
    """What the first walk through a source finds out, before anything is written."""

    splits: dict[str, Split] = field(default_factory=dict)
    studies: int = 0


def prepare(
    source: Source,
    store: Path,
    settings: PrepareConfig | PrepareVolumesConfig | None = None,
    workers: int | Workers = 2,
    overwrite: bool = False,
    hash_identifiers: bool = False,
    salt: bytes | None = None,
) -> PrepareSummary:
    """Make a store of a source, or finish one that was interrupted.

    Finished shards are kept as they are, whatever ended the earlier call. The result depends on source and settings only,
    not on the number of workers (with hashed identifiers: and on the salt). One call at a time works on a store.

    Args:
        source: Studies and their images.
        store: Folder of the store.
        settings: Image size or volume grid, shard size, split; None: those of radiographs.
        workers: Processes of this machine that read images (1 reads in this process), or a Dask cluster.
        overwrite: Replace a store that was made with other settings; it stays until the new one is finished.
        hash_identifiers: Replace the ids of studies and patients by salted hashes; splits are by the ids of the source.
        salt: What to hash with; None: the salt of the store that is finished or replaced, else a random one.

    Raises:
        UserError: The source is empty or contradicts itself (a study twice, a patient in two splits), the folder holds
            something else or a store with other settings, another call is at work on it, the disk is full, a worker died.
        ValueError: A salt is given and nothing is to be hashed with it.
    """
    if salt is not None and not hash_identifiers:
        raise ValueError("a salt is for hash_identifiers=True")
    settings = settings or PrepareConfig()
    plan = _check(source)
    described = {"source": source.name, "source_settings": source.settings(), **settings.model_dump(mode="json")}
    if hash_identifiers:
        described["identifiers"] = "hashed"
    described = json.loads(json.dumps(described))
    fingerprints: list[str] = []
    with explained_writing(store), locked(store, "preparing"):
        place = claim(store, described, overwrite)
        pseudonyms = claim_pseudonyms(place, store, salt) if hash_identifiers else None
        if pseudonyms:
            described["salt_fingerprint"] = pseudonyms.fingerprint
        with ShardPool(source, settings, workers, pseudonyms) as pool:
            written = _write_shards(source, plan, settings, described, place, pool, fingerprints)
        if written or not (place / STORE_FILE).is_file():
            write_json(place / STORE_FILE, summarise_store(source, described, place, len(fingerprints)))
        put_in_place(place, store)
    about = read_json(store / STORE_FILE)
    return PrepareSummary(
        store=store,
        counts=about["counts"],
        findings=about["findings"],
        quarantined=about["quarantined"],
        reasons=about["quarantine_reasons"],
        shards_written=written,
        shards_kept=len(fingerprints) - written,
    )


def _check(source: Source) -> _Plan:
    """Walk through the studies once and find contradictions before the long work begins."""
    plan = _Plan()
    seen: set[str] = set()
    for study in source:
        if study.study_id in seen:
            raise UserError(f"{source.name}: study '{study.study_id}' comes twice", "Give every study one id.")
        seen.add(study.study_id)
        note_split(plan.splits, study)
        plan.studies += 1
    if not plan.studies:
        raise UserError(f"source {source.name} holds no study", "Check the table or folder it is made from.")
    return plan


def _write_shards(
    source: Source,
    plan: _Plan,
    settings: ShardConfig,
    described: dict[str, Any],
    store: Path,
    pool: ShardPool,
    fingerprints: list[str],
) -> int:
    """Write the shards that are not there yet, at most a few in memory; return how many."""
    written = 0
    with ProgressBar("preparing", plan.studies) as bar:
        for number, studies in enumerate(_shards_of(source, plan, settings)):
            folder = store / SHARDS_FOLDER / shard_name(number)
            fingerprints.append(shard_fingerprint(described, studies))
            if shard_is_whole(folder, fingerprints[-1]):
                bar.advance(len(studies))
                continue
            if folder.exists():
                raise UserError(
                    f"{folder} holds other studies than {source.name} now gives (its files, or lingula, have changed)",
                    "Replace the store with --overwrite.",
                )
            written += 1
            for finished in pool.submit(studies, folder, fingerprints[-1]):
                bar.advance(finished)
        for finished in pool.drain():
            bar.advance(finished)
    return written


def _shards_of(source: Source, plan: _Plan, settings: ShardConfig) -> Iterator[list[Study]]:
    """Yield the studies shard by shard, every study with its patient's split."""
    studies = iter(source)
    while chunk := list(islice(studies, settings.shard_studies)):
        yield [study.model_copy(update={"split": _split(study.patient_id, plan, settings)}) for study in chunk]


def _split(patient_id: str, plan: _Plan, settings: ShardConfig) -> Split:
    return plan.splits.get(patient_id) or split_of(patient_id, settings.split_fractions, settings.split_seed)
