"""The real sample: what its README says must come out of the store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lingula.data.prepare import PrepareSummary, prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.readers import fit_mask, read_mask, read_radiograph
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.verify import verify


@pytest.fixture(scope="module")
def summary(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> PrepareSummary:
    source = CsvSource(shared / "data/cxr/cxr.csv", shared / "data/cxr")
    return prepare(source, tmp_path_factory.mktemp("real") / "store", PrepareConfig(size=64), workers=2)


@pytest.fixture(scope="module")
def store(summary: PrepareSummary) -> Store:
    return Store.open(summary.store)


def test_counts_are_those_of_the_readme(summary: PrepareSummary, store: Store) -> None:
    assert summary.quarantined == 0
    assert len(store) == 1558
    assert [len(store.rows(split)) for split in ("train", "val", "test")] == [1178, 160, 220]
    assert [len(store.rows(split, with_text=True)) for split in ("train", "val", "test")] == [246, 29, 43]
    assert summary.counts["all"]["patients"] == 999
    nih = [row for row, path in enumerate(store.column("path")) if path.startswith("images/nih/")]
    assert len(nih) == 890
    assert not any(store.text(row) for row in nih)
    assert [sum(store.column("split")[row] == split for row in nih) for split in ("train", "val", "test")] == [696, 112, 82]


def test_labels_stay_in_their_own_data_set(store: Store) -> None:
    origin = np.array([path.split("/")[1] for path in store.column("path")])
    pneumonia, normal, covid = store.labels(range(len(store)), ["Pneumonia", "No Finding", "COVID-19"]).T
    nih = origin == "nih"
    assert (pneumonia[nih] + normal[nih] == 1).all()
    assert (np.nansum(pneumonia[nih]), np.nansum(normal[nih])) == (432, 458)
    assert np.isnan(covid[nih]).all()
    assert np.nansum(covid) == 185 + 9 + 139
    assert np.isnan(store.labels(np.flatnonzero((origin == "rocov2") | (origin == "vqarad")), store.findings)).all()
    assert not any(finding.startswith(("cui:", "C0")) for finding in store.findings)
    codes = [extra.get("other_labels", "") for extra in store.column("extra")]
    assert sum(code.startswith("cui:") for code in codes) == 69


def test_projections_and_regions(store: Store) -> None:
    projections = store.column("projection")
    assert [projections.count(name) for name in ("PA", "AP", "unknown")] == [620, 702 + 92, 143 + 1]
    regions = [region for row in range(len(store)) for region in store.regions(row)]
    assert len(regions) == 988 + 459
    assert sum(region.has_mask for region in regions) == 459
    assert sum(region.sentence_index is not None for region in regions) == 34
    content = np.array([region.box for region in regions])
    assert content.min() >= 0
    assert content.max() <= store.size


def test_a_mask_lies_on_its_image(store: Store, shared: Path) -> None:
    row = store.column("path").index("images/covid/ARDSSevere.jpg")
    names = [region.finding for region in store.regions(row)]
    number = next(i for i, region in enumerate(store.regions(row)) if region.finding == "consolidation" and region.has_mask)
    assert "left lung" in names
    mask = read_mask(shared / "data/cxr/masks/multi/ARDSSevere__consolidation.png")
    assert mask.shape == read_radiograph(shared / "data/cxr/images/covid/ARDSSevere.jpg").shape
    found = store.mask(row, number)
    assert found is not None
    np.testing.assert_array_equal(found, fit_mask(mask, 64))
    x1, y1, x2, y2 = store.regions(row)[number].box
    rows, columns = np.nonzero(found)
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == pytest.approx([x1, y1, x2, y2], abs=1)


def test_verify_finds_the_two_known_duplicates_only(store: Store) -> None:
    (problem,) = verify(store)
    assert problem.severity == "warning"
    assert problem.message.startswith("2 images repeat another one")
