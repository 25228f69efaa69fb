"""The source: counts, splits by patient, prevalence, addresses."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.data.phantom.findings import FINDINGS
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.store import Store
from lingula.data.study import Split, Study


def test_counts_splits_and_patients() -> None:
    source = PhantomSource(400, 60, 120, seed=1)
    studies = list(source)
    assert len(studies) == len(source) == 580
    assert Counter(study.split for study in studies) == {"train": 400, "val": 60, "test": 120}
    assert len({study.study_id for study in studies}) == 580
    splits: dict[str, set[str]] = {}
    for study in studies:
        splits.setdefault(study.patient_id, set()).add(str(study.split))
    assert all(len(found) == 1 for found in splits.values())
    visits = Counter(study.patient_id for study in studies)
    assert max(visits.values()) == 3
    assert 0.6 < np.mean([count == 1 for count in visits.values()]) < 0.95


def test_iteration_is_repeatable_and_longer_splits_begin_alike() -> None:
    short, long = list(PhantomSource(50, 5, 5, seed=4)), list(PhantomSource(80, 5, 5, seed=4))
    assert short[:50] == long[:50]
    assert short[50:] == long[80:]
    assert next(iter(PhantomSource(50, 5, 5, seed=5))) != short[0]


def test_same_patient_keeps_anatomy_and_chronic_findings() -> None:
    source = PhantomSource(300, 0, 0, seed=1)
    first: dict[str, tuple[object, object]] = {}
    for study in source:
        patient = source.patient(study)
        state = (patient.anatomy, "Emphysema" in patient.findings)
        assert first.setdefault(study.patient_id, state) == state


def test_prevalence_is_long_tailed_and_every_finding_is_testable() -> None:
    labels = [study.labels for study in PhantomSource(0, 0, 1000, seed=0)]
    count = {finding: sum(row[finding] == 1 for row in labels) for finding in FINDINGS}
    assert len(FINDINGS) >= 14
    assert min(count.values()) >= 30
    assert max(count.values()) > 3.5 * min(count.values())
    both = sum(row["Cardiomegaly"] == 1 and row["Edema"] == 1 for row in labels)
    assert both > 1.5 * count["Cardiomegaly"] * count["Edema"] / 1000


def test_a_bedside_patient_has_one_frontal_image_though_pa_and_ap_are_asked_for() -> None:
    source = PhantomSource(60, 0, 0, seed=1, size=32, projections=("PA", "AP", "lateral"))
    found = {tuple(image.projection for image in study.images) for study in source}
    assert found == {("PA", "AP", "lateral"), ("AP", "lateral")}
    bedside = next(study for study in source if len(study.images) == 2)
    assert bedside.report == next(iter(s for s in PhantomSource(60, 0, 0, seed=1) if s.study_id == bedside.study_id)).report
    assert (source.read(bedside, 0).pixels != source.read(bedside, 1).pixels).any()


def test_a_store_from_before_bedside_patients_had_one_image_asks_to_be_replaced(tmp_path: Path) -> None:
    class Before(PhantomSource):
        def study(self, split: Split, patient: int, study: int) -> Study:
            after = super().study(split, patient, study)
            return after.model_copy(update={"images": after.images * (3 - len(after.images))})

    sources = [of(12, 0, 0, seed=1, size=32, projections=("PA", "AP")) for of in (Before, PhantomSource)]
    small = PrepareConfig(size=32)
    prepare(sources[0], tmp_path / "store", small, workers=1)
    with pytest.raises(
        UserError, match=r"00000 holds other studies than phantom now gives \(.*lingula, have changed\).*--overwrite"
    ):
        prepare(sources[1], tmp_path / "store", small, workers=1)
    prepare(sources[1], tmp_path / "store", small, workers=1, overwrite=True)
    assert len(Store.open(tmp_path / "store")) == sum(len(study.images) for study in sources[1]) < 24


def test_pickled_source_reads_the_same_picture() -> None:
    source = PhantomSource(6, 0, 0, seed=2, size=64, projections=("PA", "lateral"))
    study = list(source)[5]
    again = pickle.loads(pickle.dumps(source))
    assert again.settings() == source.settings()
    for index in range(2):
        picture, other = source.read(study, index), again.read(study, index)
        np.testing.assert_array_equal(picture.pixels, other.pixels)
        assert all(region.image_index == index for region in picture.regions)
        assert picture.regions == other.regions


@pytest.mark.parametrize(
    "options", [{"projections": ("AO",)}, {"size": 8}, {"train": -1}, {"bit_depth": 12}, {"projections": ()}]
)
def test_senseless_options_are_user_errors(options: dict[str, object]) -> None:
    with pytest.raises(UserError):
        PhantomSource(**options)  # type: ignore[arg-type]


def test_foreign_address_is_a_user_error() -> None:
    source = PhantomSource(1, 0, 0)
    study = next(iter(source))
    image = study.images[0].model_copy(update={"path": "scans/1.png"})
    with pytest.raises(UserError, match=r"scans/1\.png"):
        source.read(study.model_copy(update={"images": [image]}), 0)
