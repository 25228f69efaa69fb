from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_text
from published.tbx11k import mini, simplified

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.tbx11k import HEALTHY, SICK, TUBERCULOSIS, Tbx11kSource


def test_the_published_layout(tmp_path: Path) -> None:
    source = Tbx11kSource(mini(tmp_path / "in"))
    studies = {study.study_id: study for study in source}
    assert source.skipped == {"image file without a row in the tables": 2}
    assert studies["tb0000"].labels == {TUBERCULOSIS: 1, SICK: 0, HEALTHY: 0}
    assert studies["s0000"].labels == {TUBERCULOSIS: 0, SICK: 1, HEALTHY: 0}
    (region,) = studies["tb0000"].regions
    assert (region.finding, region.box, region.phrase) == (TUBERCULOSIS, (2, 3, 7, 9), "Active tuberculosis")
    assert [[study.split for study in studies.values()].count(split) for split in ("train", "val", "test")] == [21, 3, 9]
    assert len(prepared(source, tmp_path / "store")) == 33


def test_the_simplified_copy(tmp_path: Path) -> None:
    source = Tbx11kSource(simplified(tmp_path / "in"), PublicConfig(split="benchx"))
    studies = {study.study_id: study for study in source}
    assert [region.box for region in studies["tb0000"].regions] == [(2, 3, 7, 9), (3, 3, 8, 9)]
    counts = {split: [s.labels[TUBERCULOSIS] for s in studies.values() if s.split == split] for split in ("train", "val", "test")}
    assert {split: (len(each), sum(1 for value in each if value)) for split, each in counts.items()} == {
        "train": (42, 14),
        "val": (9, 3),
        "test": (9, 3),
    }
    assert len(prepared(source, tmp_path / "store")) == 60


@pytest.mark.parametrize("cell", ["{'xmin': 2.0}", "box"])
def test_a_box_that_is_none(tmp_path: Path, cell: str) -> None:
    root = simplified(tmp_path)
    text = (root / "data.csv").read_text()
    write_text(root / "data.csv", text.replace("{'xmin': 2.0, 'ymin': 3.0, 'width': 5.0, 'height': 6.0}", cell, 1))
    with pytest.raises(UserError, match=r"tbx11k: tb0000.png: .* is no box"):
        Tbx11kSource(root, PublicConfig(split="benchx"))


def test_annotations_that_are_none(tmp_path: Path) -> None:
    root = mini(tmp_path)
    write_text(root / "annotations/json/TBX11K_val.json", "[]")
    with pytest.raises(UserError, match="holds no COCO annotations"):
        Tbx11kSource(root)
