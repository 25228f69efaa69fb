from __future__ import annotations

from pathlib import Path

import pytest
from miniatures import nih, prepared, write_text

from lingula.core.errors import UserError
from lingula.data.sources.nih import FINDINGS, NO_FINDING, NihSource
from lingula.data.sources.public import PublicConfig


@pytest.mark.parametrize("numbered", [True, False])
def test_the_published_layout(tmp_path: Path, numbered: bool) -> None:
    source = NihSource(nih(tmp_path / "nih", numbered=numbered))
    store = prepared(source, tmp_path / "store")
    assert len(store) == 12
    assert store.about["quarantined"] == 0
    assert sorted(store.findings) == sorted((*FINDINGS, NO_FINDING))
    first = store.column("study_id").index("00000001_000")
    labels = dict(zip(store.findings, store.labels([first], store.findings)[0], strict=True))
    assert {name for name, value in labels.items() if value == 1} == {"Hernia"}
    assert {value for name, value in labels.items() if name != "Hernia"} == {0}
    assert [store.column(name)[first] for name in ("patient_id", "projection")] == ["1", "PA"]
    assert dict(store.column("extra")[first]) == {"sex": "M", "age": "41", "follow_up": "0"}
    (region,) = store.regions(first)
    assert region.finding == "Infiltration"
    scale = 32 / 20
    left = (32 - round(16 * scale)) // 2
    assert region.box == pytest.approx((2 * scale + left, 3 * scale, 10 * scale + left, 12 * scale), abs=1e-5)


def test_test_is_the_official_list_and_val_whole_patients(tmp_path: Path) -> None:
    source = NihSource(nih(tmp_path, patients=30))
    splits = {study.study_id: study.split for study in source}
    listed = {line.removesuffix(".png") for line in (tmp_path / "test_list.txt").read_text().split()}
    assert {name for name, split in splits.items() if split == "test"} == listed
    val = sorted(name for name, split in splits.items() if split == "val")
    assert len(val) == 4  # a tenth of 40 images, two a patient
    assert all(f"{name.split('_')[0]}_001" in val for name in val)


def test_a_draw_of_the_published_size_needs_the_whole_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="8 studies are too few to draw this split"):
        NihSource(nih(tmp_path), PublicConfig(split="kad"))


def test_lists_that_contradict_each_other(tmp_path: Path) -> None:
    root = nih(tmp_path)
    write_text(root / "test_list.txt", "00000001_000.png\n")
    with pytest.raises(UserError, match=r"00000001_000.png is in both lists"):
        NihSource(root)


def test_a_renamed_column_and_an_older_table(tmp_path: Path) -> None:
    root = nih(tmp_path)
    table = root / "Data_Entry_2017_v2020.csv"
    text = table.read_text()
    table.unlink()
    write_text(root / "Data_Entry_2017.csv", text.replace("Patient Gender", "Patient Sex"))
    assert next(iter(NihSource(root))).extra["sex"] == "M"
    write_text(root / "Data_Entry_2017.csv", text.replace("Finding Labels", "Finding Label"))
    with pytest.raises(UserError, match=r"no column 'Finding Labels' .*Did you mean 'Finding Label'"):
        NihSource(root)
