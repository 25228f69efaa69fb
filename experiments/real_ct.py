"""What 13 real chest CT volumes of 11 patients can show: that everything runs on them, and two things about what is learned.

    .venv/bin/python experiments/real_ct.py                runs what docs/results/real-ct.csv does not have yet
    .venv/bin/python experiments/real_ct.py --summary      prints the tables
    … --only "with machine English"                        also reads the machine-translated reports of BIMCV-R

No volume has a radiology report of its own, so pairs come from the phantom and the real volumes come without text beside them
(`--images-only`), for masked-image modelling; the language model, whose words the report decoder writes, is trained on real
reports. The patients with two reconstructions are held out: do the two find each other among the 13, and how well are hidden
patches of volumes filled in that no training has seen? The pictures of a cell lie in runs/real-ct/ARM-SEED. One to three
minutes of one core per cell; an interrupted queue goes on where it stopped.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from cells import Cell, Number, arguments, read, run_queue, summary

if TYPE_CHECKING:
    from lingula.data.volume_store import VolumeStore

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data/ct"
RESULTS, STORES, RUNS = ROOT / "docs/results/real-ct.csv", ROOT / "stores", ROOT / "runs/real-ct"
REAL, PHANTOM = "real-ct", "real-ct-phantom"
SPACING = 6.0
"""Voxel size of both stores, mm: a crop of 48 voxels is 29 cm, about a chest."""
STUDIES = {"train": 96, "val": 16, "test": 0}
"""Of the phantom."""
CT_CLIP = {f"ctclip_text_classifier_{part}.csv": "report_text" for part in ("train", "val")}
BIMCV_R = {f"bimcv_r_{part}.csv": "Report_en" for part in ("val", "test")}
USUAL = "1,000 reports"
ARMS: dict[str, dict[str, str]] = {USUAL: CT_CLIP, "with machine English": {**CT_CLIP, **BIMCV_R}}
"""Arm to the tables of reports that the language model reads, and the column of each."""
WORDS: dict[str, Any] = {"layers": 1, "width": 96, "vocabulary": 2500}
SETTINGS: dict[str, Any] = {
    "method": {"encoder": {"depth": 4, "patch_size": 8}},
    "data": {"images_only_share": 0.75, "text_view": "varied"},
    "optimisation": {"steps": 300, "batch_size": 8},
    "runtime": {"validate_every": 150},
}
"""Over the preset `tiny`: patches of 48 mm, the batch no larger than the volumes that are trained on, most steps theirs."""
STATES = {"before": "initial", "after": "last"}
SEEN, THUMBNAIL = ("whole", "windows"), 6
CUT = 8
"""Voxels that a query loses along each axis in the harder form, so that it no longer lies where the other reconstruction does."""
SHOWN = "images/lungdx_a0001_s3.nii.gz"
"""The volume of the picture: of a patient who is held out."""


def write_table(data: Path, table: Path) -> None:
    """Write the data's table with a split: patients with several volumes are for test, all others for training."""
    with (data / "ct.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    volumes = Counter(row["patient_id"] for row in rows)
    for row in rows:
        row["split"] = "test" if volumes[row["patient_id"]] > 1 else "train"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def prepare_stores(data: Path, stores: Path, studies: dict[str, int], spacing: float) -> None:
    """Make the store of the real volumes and that of the phantom's pairs, or take those that are there."""
    from lingula.data.phantom.ct_source import PhantomCtSource
    from lingula.data.prepare import prepare
    from lingula.data.prepare_config import PrepareVolumesConfig
    from lingula.data.sources.csv_volumes import CsvVolumeSource

    write_table(data, stores / f"{REAL}.csv")
    settings = PrepareVolumesConfig(spacing=spacing)
    done = prepare(CsvVolumeSource(stores / f"{REAL}.csv", data), stores / REAL, settings, workers=1)
    print(f"{done.store}: {done.counts['all']}, {done.quarantined} quarantined {done.reasons or ''}", flush=True)
    prepare(PhantomCtSource(**studies, spacing=spacing), stores / PHANTOM, settings, workers=1)


def train_words(arm: str, data: Path, runs: Path, sizes: dict[str, Any]) -> Path:
    """Train the arm's language model, or take the one that is there, and return its folder."""
    from lingula.data.report_files import read_reports
    from lingula.models.text_config import LanguageModelConfig
    from lingula.training.language_model import pretrain_language_model

    folder = runs / f"language-model-{_name(arm)}"
    if not folder.exists():
        texts = [report for file, column in ARMS[arm].items() for report in read_reports(data / "reports" / file, [column])]
        lines = [json.dumps({"text": next(iter(report.values()))}) for report in texts]
        runs.mkdir(parents=True, exist_ok=True)
        reports = runs / f"{_name(arm)}.jsonl"
        reports.write_text("\n".join(lines), encoding="utf-8")
        pretrain_language_model(LanguageModelConfig(**sizes), folder, files=[reports])
    return folder


def work(cell: Cell, data: Path, stores: Path, runs: Path, changes: dict[str, Any], words: dict[str, Any]) -> list[Number]:
    """Train one arm with one seed, draw its picture, and return its numbers; `changes` go over the settings."""
    import torch

    from lingula.cli.show_masked import show_masked
    from lingula.core.config import merged
    from lingula.data.volume_store import VolumeStore
    from lingula.training.pretrain import pretrain
    from lingula.training.recipes import recipe

    torch.set_num_threads(1)
    placed = {
        "data": {"store": str(stores / PHANTOM), "images_only": str(stores / REAL)},
        "text_encoder": {"name": str(train_words(cell.arm, data, runs, words))},
        "runtime": {"seed": cell.seed},
    }
    run = runs / f"{_name(cell.arm)}-{cell.seed}"
    pretrain(recipe("colipri", "tiny", changes, merged(SETTINGS, placed)), run, overwrite=True)
    real = VolumeStore.open(stores / REAL)
    shown = real.column("path").index(SHOWN)
    for state, checkpoint in STATES.items():
        show_masked(run, run / f"masked-{state}.png", real, shown, checkpoint=checkpoint)
    numbers = [*neighbours(run, real), *reconstruction(run, real)]
    shutil.rmtree(run / "checkpoints")
    return numbers


def neighbours(run: Path, store: VolumeStore) -> list[Number]:
    """Rank of each patient's other reconstruction among all other volumes, by cosine; thumbnails do it without any model.

    Once as they are stored, once with a query whose first voxels are cut off.
    """
    from lingula.training.run import Run
    from lingula.volume_inference import VolumeModel

    voxels = [store.volume(row).voxels for row in range(len(store))]
    cut = [np.ascontiguousarray(each[CUT:, CUT:, CUT:]) for each in voxels]
    small, small_cut = (np.stack([thumbnail(each) for each in volumes]) for volumes in (voxels, cut))
    numbers = [Number("chance of the rank", len(store) / 2)]
    numbers += [*_ranks(store, small, small, "thumbnails"), *_ranks(store, small_cut, small, "thumbnails, query cut")]
    for state, checkpoint in STATES.items():
        for seen in SEEN:
            model = VolumeModel(Run(run), checkpoint, seen)
            features, latents = model.embed_rows(store, np.arange(len(store)))
            queries = model.encode_image(cut)
            if not all(np.isfinite(each).all() for each in (features, latents, queries)):
                raise FloatingPointError(f"{run}: a vector of a real volume, {seen}, {state} training, is not finite")
            numbers += _ranks(store, features, features, f"mean token, {seen}, {state}")
            numbers += _ranks(store, latents, latents, f"pooled, {seen}, {state}")
            numbers += _ranks(store, queries, latents, f"pooled, query cut, {seen}, {state}")
    return numbers


def _ranks(store: VolumeStore, queries: np.ndarray, gallery: np.ndarray, what: str) -> list[Number]:
    """Rank for each volume that has another of its patient, and the mean of the ranks."""
    patients, paths = store.column("patient_id"), store.column("path")
    found = {paths[row]: rank for row, rank in other_ranks(queries, gallery, patients).items()}
    single = [Number(f"rank · {what} · {Path(path).name.split('.')[0]}", rank) for path, rank in found.items()]
    return [*single, Number(f"mean rank · {what}", float(np.mean(list(found.values()))))]


def other_ranks(queries: np.ndarray, gallery: np.ndarray, patients: Sequence[str]) -> dict[int, float]:
    """Return the rank, 1 is nearest, of the nearest other row of the same patient, for rows that have one.

    Args:
        queries: `rows features`.
        gallery: `rows features`; a query never finds its own row.
        patients: Of each row.
    """
    from lingula.evaluation.ranking import MEDIAN_RANK, first_right

    units = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (queries, gallery)]
    similarity, whose = units[0] @ units[1].T, np.array(patients)
    np.fill_diagonal(similarity, -np.inf)
    right = (whose[:, None] == whose[None]) & ~np.eye(len(whose), dtype=bool)
    rows = np.flatnonzero(right.any(axis=1))
    ranks = first_right(similarity[rows], right[rows], (1,))[MEDIAN_RANK]
    return {int(row): float(rank) for row, rank in zip(rows, ranks, strict=True)}


def thumbnail(voxels: np.ndarray) -> np.ndarray:
    """Return a volume shrunk to a few voxels, less their mean: what likeness needs no encoder."""
    import torch
    from torch.nn import functional

    clamped = torch.from_numpy(np.clip(voxels, -1000, 1000).astype(np.float32))
    small = functional.adaptive_avg_pool3d(clamped[None, None], THUMBNAIL).flatten().numpy()
    less: np.ndarray = small - small.mean()
    return less


def reconstruction(run: Path, store: VolumeStore) -> list[Number]:
    """Mean squared error on hidden patches, before and after, beside two guesses, of trained-on and of held-out volumes."""
    from lingula.evaluation.masked_pictures import fill_hidden
    from lingula.training.run import Run
    from lingula.volume_inference import VolumeModel

    numbers = []
    for state, checkpoint in STATES.items():
        filler = VolumeModel(Run(run), checkpoint).hidden_filler(store)
        assert filler is not None
        low, high = filler.crop.config.hu_range
        for split, name in (("test", "held out"), ("train", "trained on")):
            filled = [fill_hidden(filler, store, int(row)) for row in store.rows(split)]
            errors = {state: [each.error for each in filled]}
            if state == "after":
                errors["mean of the visible voxels"] = [each.guess for each in filled]
                errors["nearest visible voxel"] = [nearest_error(each.hounsfield, each.hidden, high - low) for each in filled]
            numbers += [Number(f"masked error · {name} · {what}", float(np.mean(each))) for what, each in errors.items()]
    return numbers


def nearest_error(hounsfield: np.ndarray, hidden: np.ndarray, width: float) -> float:
    """Mean squared error of hidden voxels that take the value of the nearest visible one, with values from -1 to 1.

    Args:
        hounsfield: `x y z`.
        hidden: `x y z`.
        width: Hounsfield units from -1 to 1.
    """
    from scipy.ndimage import distance_transform_edt

    nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    difference = (hounsfield[tuple(nearest)] - hounsfield)[hidden] * 2 / width
    return float(np.square(difference).mean())


def _name(arm: str) -> str:
    return arm.replace(",", "").replace(" ", "-")


def show() -> None:
    """Print the chance of a rank, the mean ranks, and the errors."""
    found = read(RESULTS)
    quantities = list(dict.fromkeys(number.quantity for numbers in found.values() for number in numbers))
    for kind in ("chance", "mean rank", "masked error"):
        print(f"\n{summary(RESULTS, [each for each in quantities if each.startswith(kind)])}")


def main() -> None:
    """Prepare, run the queue, print what it has found."""
    parser = arguments(__doc__, ARMS)
    parser.set_defaults(only=[USUAL])
    given = parser.parse_args()
    if not given.summary:
        prepare_stores(DATA, STORES, STUDIES, SPACING)
        for arm in given.only:
            train_words(arm, DATA, RUNS, WORDS)
        cells = [Cell(arm, seed) for seed in given.seeds for arm in given.only]
        job = partial(work, data=DATA, stores=STORES, runs=RUNS, changes={}, words=WORDS)
        run_queue(cells, job, RESULTS, given.workers, given.minutes)
    show()


if __name__ == "__main__":
    main()
