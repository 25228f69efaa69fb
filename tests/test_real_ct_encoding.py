"""Real chest CT from file to vector: prepared, trained on beside phantom pairs, encoded whole and in windows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from ct_runs import SPACING, make_ct_store, small_recipe

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.sources.csv_volumes import CsvVolumeSource
from lingula.data.volume_reader import read_volume
from lingula.data.volume_store import VolumeStore
from lingula.data.volume_storing import VolumeStoring
from lingula.inference import VolumeModel, load_model
from lingula.training.pretrain import pretrain

CHOSEN = ("lungdx_a0002_b40f", "lungdx_a0002_b70f", "lidc_0745")
"""Two reconstructions of one patient, and the volume of the fewest voxels that shows both lungs."""


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    return shared / "data/ct"


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    place = tmp_path_factory.mktemp("real")
    with (folder / "ct.csv").open(encoding="utf-8") as file:
        rows = [row | {"split": "train"} for row in csv.DictReader(file) if any(name in row["image"] for name in CHOSEN)]
    with (place / "ct.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    summary = prepare(
        CsvVolumeSource(place / "ct.csv", folder), place / "store", PrepareVolumesConfig(spacing=SPACING), workers=1
    )
    assert (summary.quarantined, summary.counts["all"]["images"], summary.counts["all"]["patients"]) == (0, 3, 2)
    return VolumeStore.open(place / "store")


def row_of(store: VolumeStore, name: str) -> int:
    return [Path(path).name for path in store.column("path")].index(f"{name}.nii.gz")


def test_two_reconstructions_of_a_patient_are_treated_alike(folder: Path, store: VolumeStore) -> None:
    """Same grid in the store, and each exactly what the store's treatment makes of its file; the voxels stay two images."""
    soft, sharp = (row_of(store, name) for name in CHOSEN[:2])
    assert store.column("patient_id")[soft] == store.column("patient_id")[sharp]
    assert store.shape(soft) == store.shape(sharp)
    assert store.spacing(soft) == store.spacing(sharp) == (SPACING,) * 3
    np.testing.assert_array_equal(store.affine(soft), store.affine(sharp))
    for row in (soft, sharp):
        treated = VolumeStoring(store.storing)(read_volume(folder / store.column("path")[row]))
        np.testing.assert_array_equal(store.volume(row).voxels, treated.voxels)
    voxels = [store.volume(row).voxels.astype(float).ravel() for row in (soft, sharp)]
    assert 0.95 < np.corrcoef(*voxels)[0, 1] < 1


def test_a_real_volume_goes_from_file_to_finite_vectors(folder: Path, store: VolumeStore, tmp_path: Path) -> None:
    pairs = make_ct_store(tmp_path / "pairs", train=4, val=2)
    changes = {"data": {"images_only": str(store.path)}, "optimisation": {"steps": 2, "batch_size": 2, "micro_batch_size": None}}
    run = pretrain(small_recipe(pairs, **changes), tmp_path / "run")
    for seen in ("whole", "windows"):
        model = load_model(run, "last", seen=seen)  # type: ignore[arg-type]
        assert isinstance(model, VolumeModel)
        features, latents = model.embed_rows(store, np.arange(3))
        assert features.shape == (3, 24)
        assert np.isfinite(features).all()
        np.testing.assert_allclose(np.linalg.norm(latents, axis=1), 1, atol=1e-5)
        assert len(np.unique(latents.round(6), axis=0)) == 3
        of_file = model.encode_image([folder / store.column("path")[0]])
        np.testing.assert_allclose(of_file[0], latents[0], atol=1e-5)
