"""The experiment on real CT, on the phantom's volumes as files: every number of its tables comes out, and ranks are right."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from ct_runs import SMALL, SPACING

from lingula.core.config import merged
from lingula.data.phantom.ct_source import PhantomCtSource

STUDIES = {"train": 3, "val": 2, "test": 0}
SHORT = merged(SMALL, {"optimisation": {"steps": 2, "batch_size": 2, "micro_batch_size": None}})
WORDS = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 90, "word_steps": 2, "steps": 2, "sentence_pairs": 4}


@pytest.fixture(scope="module")
def experiment(load_experiment: Callable[[str], Any]) -> Any:
    return load_experiment("real_ct")


@pytest.fixture(scope="module")
def data(experiment: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three patients as NIfTI; the first has two reconstructions, the second of them with noise."""
    folder, source = tmp_path_factory.mktemp("ct"), PhantomCtSource(3, 0, 0, seed=5, spacing=SPACING)
    (folder / "images").mkdir()
    (folder / "reports").mkdir()
    rows = []
    for number, study in enumerate(source):
        volume = source.read(study, 0).volume
        for form in ("s2", "s3") if number == 0 else ("",):
            noise = np.random.default_rng(0).integers(-40, 40, volume.voxels.shape) if form == "s3" else 0
            name = "images/lungdx_a0001_s3.nii.gz" if form == "s3" else f"images/{number}.nii.gz"
            nibabel.save(nibabel.Nifti1Image((volume.voxels + noise).astype(np.int16), volume.affine), folder / name)
            rows.append({"image": name, "patient_id": f"p{number}", "text": "", "labels": ""})
    write(folder / "ct.csv", rows)
    for file, column in experiment.CT_CLIP.items():
        texts = [{column: f"Heart size is normal. A nodule of {n} mm in the left lung."} for n in range(12)]
        write(folder / "reports" / file, texts)
    return folder


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.soak
def test_every_number_of_the_tables_comes_out(experiment: Any, data: Path, tmp_path: Path) -> None:
    experiment.prepare_stores(data, tmp_path / "stores", STUDIES, SPACING)
    cell = sys.modules["cells"].Cell(experiment.USUAL, 0)
    numbers = experiment.work(cell, data, tmp_path / "stores", tmp_path / "runs", SHORT, WORDS)
    found = {number.quantity: number.value for number in numbers}
    assert len(found) == len(numbers)
    assert found["chance of the rank"] == 2
    assert found["mean rank · thumbnails"] == 1
    for state in experiment.STATES:
        for seen in experiment.SEEN:
            for vector in ("mean token", "pooled", "pooled, query cut"):
                what = f"{vector}, {seen}, {state}"
                ranks = [found[f"rank · {what} · {name}"] for name in ("0", "lungdx_a0001_s3")]
                assert all(1 <= rank <= 3 for rank in ranks)
                assert found[f"mean rank · {what}"] == np.mean(ranks)
    for volumes in ("held out", "trained on"):
        for what in ("before", "after", "mean of the visible voxels", "nearest visible voxel"):
            assert found[f"masked error · {volumes} · {what}"] > 0
    run = tmp_path / "runs/1000-reports-0"
    assert {path.name for path in run.glob("masked-*.png")} == {"masked-before.png", "masked-after.png"}
    assert not (run / "checkpoints").exists()


def test_ranks_count_who_is_nearer_than_the_other_reconstruction(experiment: Any) -> None:
    angles = np.radians([0, 50, 10, 20, 170])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert experiment.other_ranks(vectors, 3 * vectors, ["a", "a", "b", "c", "d"]) == {0: 3.0, 1: 3.0}
    assert experiment.other_ranks(np.ones((3, 2)), np.ones((3, 2)), ["a", "a", "b"]) == {0: 1.5, 1: 1.5}, "ties are chance"


def test_a_hidden_voxel_is_guessed_from_the_nearest_visible_one(experiment: Any) -> None:
    hounsfield, hidden = np.zeros((2, 2, 6)), np.zeros((2, 2, 6), bool)
    hounsfield[..., 3], hounsfield[..., 4:], hidden[..., 2:4] = 500.0, 1000.0, True
    assert experiment.nearest_error(hounsfield, hidden, 2000.0) == pytest.approx(0.5**2 / 2)
