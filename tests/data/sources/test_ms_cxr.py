from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import prepared, write_text
from published.ms_cxr import write_pictures, write_table

from lingula.core.errors import UserError
from lingula.data.sources.ms_cxr import MsCxrConfig, MsCxrSource


def test_the_published_layout_beside_its_images(tmp_path: Path) -> None:
    source = MsCxrSource(write_pictures(write_table(tmp_path / "in")))
    store = prepared(source, tmp_path / "store", size=20)
    assert store.column("split") == ["test", "test"]
    first = store.regions(store.column("study_id").index("a"))
    assert [region.phrase for region in first] == ["small left apical pneumothorax"] + ["atelectasis, left base"] * 2
    assert first[0].box == (2 + 2, 3, 6 + 2, 8)
    study = next(iter(source))
    assert study.patient_id == "p10000032"
    assert study.labels == {"Atelectasis": 1, "Pneumothorax": 1}


def test_images_may_lie_elsewhere(tmp_path: Path) -> None:
    images = write_pictures(tmp_path / "mimic")
    source = MsCxrSource(write_table(tmp_path / "in"), MsCxrConfig(images=images))
    assert len(prepared(source, tmp_path / "store")) == 2
    with pytest.raises(UserError, match=r"none of the 2 images of ms-cxr is below"):
        MsCxrSource(tmp_path / "in")


def test_the_split_of_its_second_version(tmp_path: Path) -> None:
    root = write_pictures(write_table(tmp_path, ("val", "val", "val", "test")))
    assert [study.split for study in MsCxrSource(root, MsCxrConfig(split="published"))] == ["val", "test"]
    assert [study.split for study in MsCxrSource(root)] == ["test", "test"]


def test_a_box_without_numbers(tmp_path: Path) -> None:
    root = write_pictures(write_table(tmp_path))
    table = root / "MS_CXR_Local_Alignment_v1.0.0.csv"
    write_text(table, table.read_text().replace(",2,3,4,5,", ",2,,4,5,"))
    with pytest.raises(UserError, match="ms-cxr: a: box or size is no number"):
        MsCxrSource(root)
