from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from miniatures import prepared
from published.object_cxr import mini

from lingula.core.errors import UserError
from lingula.data.sources.object_cxr import FOREIGN_OBJECT, ObjectCxrSource
from lingula.data.sources.public import PublicConfig


def test_the_published_layout(tmp_path: Path) -> None:
    source = ObjectCxrSource(mini(tmp_path / "in"))
    studies = {study.study_id: study for study in source}
    assert [len([s for s in studies.values() if s.split == split]) for split in ("train", "val", "test")] == [20, 3, 2]
    assert studies["00001"].labels == {FOREIGN_OBJECT: 1}
    assert studies["00002"].labels == {FOREIGN_OBJECT: 0}
    picture = source.read(studies["00001"], 0)
    assert [region.box for region in picture.regions] == [(2, 4, 10, 13), (10, 2, 16, 18), (1, 1, 7, 4)]
    rectangle, ellipse, triangle = picture.masks
    assert rectangle is not None
    assert ellipse is not None
    assert triangle is not None
    assert rectangle.sum() == 8 * 9
    assert ellipse.sum() == pytest.approx(np.pi * 3 * 8, rel=0.1)
    assert triangle.tolist()[1][1:7] == [True] * 6
    assert not triangle[3, 2]
    store = prepared(source, tmp_path / "store")
    assert len(store) == 25
    assert store.about["quarantined"] == 0


@pytest.mark.parametrize(("rule", "val"), [("mgca-code", 2), ("official", 3)])
def test_dev_is_what_papers_test_on(tmp_path: Path, rule: str, val: int) -> None:
    source = ObjectCxrSource(mini(tmp_path), PublicConfig(split=rule))
    counts = [[study.split for study in source].count(split) for split in ("train", "val", "test")]
    assert counts == ([18, val, 3] if rule == "mgca-code" else [20, val, 2])
    left_out = source.skipped.get(f"study that the split '{rule}' leaves out", 0)
    assert left_out == (2 if rule == "mgca-code" else 0)


def test_without_the_test_images(tmp_path: Path) -> None:
    source = ObjectCxrSource(mini(tmp_path, test_too=False))
    assert len(source) == 23
    assert source.skipped == {"table of the test images (test.csv) that is not there": 1}


@pytest.mark.parametrize("shape", ["3 1 1 4 4", "0 1 1 4", "2 1 1 4 4 5", "0 a b c d"])
def test_shapes_that_are_none(tmp_path: Path, shape: str) -> None:
    with pytest.raises(UserError, match=r"train/00001.jpg: .* is no rectangle, ellipse or polygon"):
        ObjectCxrSource(mini(tmp_path, first=shape))
