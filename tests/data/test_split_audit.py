from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from miniatures import nih, prepared, rsna, write_text

from lingula.cli import main
from lingula.data.sources.indiana import IndianaSource
from lingula.data.sources.nih import NihSource
from lingula.data.sources.public import PublicConfig
from lingula.data.split_audit import audit, audit_lines
from lingula.data.store import Store
from lingula.data.study import ImageReference


def _lists(folder: Path, **splits: str) -> PublicConfig:
    for split, names in splits.items():
        write_text(folder / f"{split}.txt", names.replace(" ", "\n"))
    return PublicConfig(split_lists=folder)


def test_patients_and_image_files_in_two_splits_are_counted(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih")
    shutil.copy(root / "images_001/images/00000001_000.png", root / "images_004/images/00000004_000.png")
    config = _lists(tmp_path / "lists", train="00000001_000 00000002_000", val="00000002_001", test="00000004_000 00000005_000")
    source = NihSource(root, config)
    found = audit(source, hash_images=True)
    assert found.counts["train"] == {"images": 2, "frontal": 2, "studies": 2, "patients": 2}
    assert found.counts["val"]["patients"] == 1
    assert found.patients == {("train", "val"): 1}
    assert found.images == {("train", "test"): 1}
    text = "\n".join(audit_lines(source, found))
    assert "PATIENTS IN TWO SPLITS: train and val: 1" in text
    assert "IMAGES IN TWO SPLITS: train and test: 1" in text
    assert "left out: 7 × study that no split list names" in text
    assert audit(source).images is None


def test_series_are_the_same_where_all_their_slices_are_whatever_their_names(tmp_path: Path) -> None:
    class Series(NihSource):
        def files(self, image: ImageReference) -> list[Path]:
            return sorted((tmp_path / "series" / Path(image.path).stem).iterdir())

    for name, slices in (("00000001_000", "xy"), ("00000003_000", "yx"), ("00000004_000", "xz"), ("00000005_000", "x")):
        for place, content in enumerate(slices):
            write_text(tmp_path / "series" / name / f"{place}.dcm", content)
    root = nih(tmp_path / "nih")
    config = _lists(tmp_path / "lists", train="00000001_000", val="00000003_000", test="00000004_000 00000005_000")
    assert audit(Series(root, config), hash_images=True).images == {("train", "val"): 1}


def test_reports_are_compared_after_normalisation(tmp_path: Path) -> None:
    for number, said in enumerate(("No acute  disease.", "No acute disease.", "Effusion.")):
        body = f'<AbstractText Label="IMPRESSION">{said}</AbstractText><parentImage id="CXR{number}"/>'
        write_text(tmp_path / f"ecgen-radiology/{number}.xml", f'<e><uId id="CXR{number}"/>{body}</e>')
    source = IndianaSource(tmp_path, _lists(tmp_path / "lists", train="CXR0 CXR2", test="CXR1"), tables_only=True)
    assert audit(source).reports == {("train", "test"): 1}


def test_published_sizes_stand_beside_what_is_there(tmp_path: Path) -> None:
    source = NihSource(nih(tmp_path), PublicConfig(split="published"))
    lines = list(audit_lines(source, audit(source)))
    assert lines[1].split() == ["train", "8", "8", "8", "4", "86,524"]
    assert any(line.startswith("sizes: published are 86,524 / 0 / 25,596 images") for line in lines)
    assert "patients: in one split each" in lines


def test_the_command_tells_what_is_known_without_data(capsys: pytest.CaptureFixture[str]) -> None:
    main(["data", "audit", "nih", "--split", "kad"])
    told = capsys.readouterr().out
    assert "* --split kad" in told
    assert "77,872 / 8,652 / 25,596 images" in told
    assert "KNOWN LEAK: train_val is split by image" in told
    assert "By patient: --split official" in told
    for name, word in (("chexpert", "4,907 of its 5,000"), ("siim", "rows of run lengths")):
        main(["data", "audit", name, "--split", "mgca"])
        assert word in capsys.readouterr().out
    main(["data", "audit", "mimic-cxr-jpg"])
    assert "trains on every row" in capsys.readouterr().out


@pytest.mark.parametrize(("val", "code"), [("00000002_000 00000002_001", 0), ("00000001_001", 1)])
def test_the_command_leaves_with_1_where_a_patient_is_in_two_splits(tmp_path: Path, val: str, code: int) -> None:
    root = nih(tmp_path / "nih")
    _lists(tmp_path / "lists", train="00000001_000", val=val)
    with pytest.raises(SystemExit) as left:
        main(["data", "audit", "nih", "--root", str(root), "--split-lists", str(tmp_path / "lists"), "--hash-images"])
    assert left.value.code == code


def test_prepare_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = rsna(tmp_path / "rsna")
    words = ["data", "prepare", "rsna", "--root", str(root), "--store", str(tmp_path / "store"), "--size", "16", "--workers", "1"]
    main([*words, "--split", "mgca-code"])
    told = capsys.readouterr().out
    assert "left out: 1 × image file without a row in the tables" in told
    assert "known: The images are ChestX-ray14's" in told
    assert "12 images" in told
    store = Store.open(tmp_path / "store")
    assert len(store) == 12
    assert "00000000-0000" not in "".join(store.column("patient_id"))  # hashed unless asked
    with pytest.raises(SystemExit) as left:
        main([*words, "--split", "mgca"])
    assert left.value.code == 2
    assert "12 studies are too few to draw this split" in capsys.readouterr().err


def test_a_store_of_lists_holds_what_they_name(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih")
    config = _lists(tmp_path / "lists", train="00000001_000 00000001_001", test="00000003_000")
    store = prepared(NihSource(root, config), tmp_path / "store")
    assert sorted(store.column("split")) == ["test", "train", "train"]
