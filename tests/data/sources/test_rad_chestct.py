from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ct_volumes import chest
from miniatures import write_text
from volume_miniatures import SHAPE, prepared_volumes, rad_chestct

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.rad_chestct import FINDINGS, RadChestCtSource
from lingula.data.text.ct_lexicon import CT_FINDINGS


def test_the_published_layout(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    store = prepared_volumes(RadChestCtSource(rad_chestct(tmp_path / "data")), tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (6, 0)
    assert store.column("split") == ["train", "train", "val", "val", "test", "test"]
    assert store.column("patient_id") == [f"pt{number}" for number in range(6)]
    assert store.spacing(3) == pytest.approx((0.8, 0.8, 0.8))
    np.testing.assert_array_equal(store.volume(3).voxels, chest(SHAPE, seed=3))
    for row, name in ((0, "Medical material"), (5, "Medical material")):
        assert [n for n, value in zip(store.findings, store.labels([row], store.findings)[0], strict=True) if value] == [name]


def test_a_class_is_present_where_any_of_its_findings_is_at_any_place(tmp_path: Path) -> None:
    root = rad_chestct(tmp_path)
    table = root / "imgvalid_Abnormality_and_Location_Labels.csv"
    head = table.read_text().splitlines()[0]
    columns = head.split(",")[1:]
    for finding, name in (("nodulegr1cm*right_lung", "Lung nodule"), ("calcification*other_location", "Calcification")):
        cells = ["1.0" if column in (finding, "airspace_disease*right_lung") else "" for column in columns]
        write_text(table, f"{head}\nval00002,{','.join(cells)}\n")
        (study,) = (each for each in RadChestCtSource(root) if each.study_id == "val00002")
        assert [label for label, value in study.labels.items() if value] == [name]
        assert set(study.labels) == set(FINDINGS)


def test_classes_are_ct_rates_but_for_mosaic_attenuation_and_two_calcifications() -> None:
    assert len(FINDINGS) == 16
    left = {"Arterial wall calcification", "Coronary artery wall calcification", "Mosaic attenuation pattern"}
    assert set(CT_FINDINGS) - set(FINDINGS) == left
    assert set(FINDINGS) - set(CT_FINDINGS) == {"Calcification"}


def test_broken_files_are_quarantined(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    root = rad_chestct(tmp_path / "data")
    (root / "trn00000.npz").write_bytes(b"nothing")
    np.savez(root / "trn00001.npz", volume=chest(SHAPE))
    np.savez(root / "val00002.npz", ct=chest(SHAPE)[0])
    store = prepared_volumes(RadChestCtSource(root), tmp_path / "store")
    assert (len(store), store.about["quarantined"]) == (3, 3)


def test_other_tables(tmp_path: Path) -> None:
    root = rad_chestct(tmp_path)
    table = root / "imgtest_Abnormality_and_Location_Labels.csv"
    text = table.read_text()
    write_text(table, text.replace("hernia*", "herniation*"))
    with pytest.raises(UserError, match=r"has no column hernia\*"):
        RadChestCtSource(root)
    write_text(table, text.replace("tst00004", "trn00000"))
    with pytest.raises(UserError, match=r"trn00000 is in two tables of findings"):
        RadChestCtSource(root)
    write_text(table, text.replace("tst00004", "tst00009"))
    with pytest.raises(UserError, match=r"no row about tst00009"):
        RadChestCtSource(root)


def test_the_command_and_the_split_for_other_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    root = rad_chestct(tmp_path / "data")
    assert {study.split for study in RadChestCtSource(root, PublicConfig(split="external"))} == {"test"}
    main(["data", "prepare", "rad-chestct", "--root", str(root), "--store", str(tmp_path / "s"), "--workers", "1"])
    assert "6 images, 0 images with text, 6 studies, 6 patients" in capsys.readouterr().out
