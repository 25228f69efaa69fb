"""`lingula data …` with CT volumes: prepare, describe, verify; options of the other kind are refused."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from ct_volumes import LAS, chest

from lingula.cli import main
from lingula.data.volume_store import VolumeStore


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    return capsys.readouterr().err


def test_phantom_to_store_to_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "ct")
    phantom = ["data", "prepare", "phantom", "--projection", "ct", "--studies", "10", "--store", store, "--workers", "1"]
    main([*phantom, "--spacing", "8", "--shard-studies", "4"])
    assert capsys.readouterr().out.startswith(f"{store}: 10 images, 10 images with text, 10 studies")
    opened = VolumeStore.open(store)
    assert [len(opened.rows(split)) for split in ("train", "val", "test")] == [7, 1, 2]
    assert opened.spacing(0) == (8, 8, 8)
    assert opened.storing.spacing == 8
    main(["data", "describe", store])
    assert "10 CT volumes, RAS, voxels of 8 mm" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit) as left:
        main(["data", "verify", store])
    assert left.value.code == 0
    assert "prepared differently" in refused([*phantom, "--spacing", "9"], capsys)


def test_the_phantoms_store_says_the_voxels_that_were_rendered(tmp_path: Path) -> None:
    words = ["data", "prepare", "phantom", "--projection", "ct", "--studies", "1", "--store", str(tmp_path / "ct")]
    main([*words, "--workers", "1"])
    opened = VolumeStore.open(tmp_path / "ct")
    assert opened.storing.spacing == 5
    assert opened.spacing(0) == (5, 5, 5)
    assert opened.column("source_shape")[0] == list(opened.shape(0))


def test_a_folder_of_volumes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, name in enumerate(("p1/a/1", "p1/a/2", "p1/b/1", "p2/a/1")):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(chest(seed=seed), LAS), tmp_path / f"root/{name}.nii.gz")
    (tmp_path / "root/p2/a/broken.nii").write_bytes(b"nothing")
    (tmp_path / "root/notes.txt").write_text("nothing")
    words = ["data", "prepare", "nifti", "--root", str(tmp_path / "root"), "--workers", "1"]
    main([*words, "--layout", "folders", "--store", str(tmp_path / "s")])
    out = capsys.readouterr().out
    assert "4 images, 0 images with text, 3 studies, 2 patients" in out
    assert "1 of the source's items could not be read" in out
    assert "1  not a volume by its suffix" in out
    store = VolumeStore.open(tmp_path / "s")
    np.testing.assert_array_equal(store.volume(1).voxels, chest(seed=1)[::-1])
    main([*words, "--store", str(tmp_path / "files")])
    assert "4 images, 0 images with text, 4 studies, 4 patients" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    for root, said in (("empty", "has no volume (0 other files)"), ("gone", "no such folder of volumes")):
        assert said in refused(["data", "prepare", "nifti", "--root", str(tmp_path / root), "--store", "s"], capsys)


def test_a_table_of_volumes(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(chest(), LAS), tmp_path / "v.nii.gz")
    (tmp_path / "ct.csv").write_text("image,text\nv.nii.gz,No nodule.\n")
    words = ["data", "prepare", "csv", "--projection", "ct", "--table", str(tmp_path / "ct.csv"), "--store", str(tmp_path / "s")]
    main([*words, "--workers", "1", "--spacing", "4", "5", "6", "--orientation", "SAR", "--hu-range", "-900", "500"])
    store = VolumeStore.open(tmp_path / "s")
    assert store.shape(0) == (72 // 4, 75 // 5, 80 // 6), "head, front, right"
    assert store.spacing(0) == pytest.approx((4, 5, 6))
    assert np.abs(store.volume(0).voxels).max() == 900


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["phantom", "--spacing", "4"], "--spacing is for CT volumes only. Add --projection ct, or the option"),
        (["phantom", "--projection", "ct", "--size", "64"], "--size is for radiographs only. Leave out --projection ct"),
        (["phantom", "--projection", "ct", "--spacing", "4", "4", "5"], "the phantom's voxels are cubes"),
        (["csv", "--table", "t.csv", "--sidecar", "s.csv"], "--sidecar is for CT volumes only"),
        (["dicom", "--root", ".", "--projection", "ct", "--crop-border"], "--crop-border is for radiographs only"),
        (
            ["phantom", "--projection", "ct", "--spacing", "-1"],
            "--spacing: Value error, a voxel size of -1.0 mm must be positive",
        ),
        (["phantom", "--size", "4"], "--size: Input should be greater than or equal to 8 (got 4)"),
    ],
)
def test_options_of_the_other_kind_are_refused(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in " ".join(refused(["data", "prepare", *words, "--store", "s"], capsys).split())
    assert not list(tmp_path.iterdir())


def test_a_store_of_what_cannot_be_read_names_the_reason_and_where_the_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").mkdir()
    voxels = chest().astype(np.float32)
    voxels[3, 4, 5] = np.nan
    nibabel.save(nibabel.Nifti1Image(voxels, LAS), tmp_path / "files/holes.nii.gz")
    words = ["data", "prepare", "nifti", "--root", str(tmp_path / "files"), "--spacing", "8", "--workers", "1"]
    reason = r"1 +a volume with 1 of \d+ values that are no finite number"
    place = r"Which ones: column `path` of \S+/shards/\*/quarantine\.parquet"
    for command in ([*words, "--store", str(tmp_path / "ct")], ["data", "describe", str(tmp_path / "ct")]):
        assert re.search(f"error: store .* holds no image: {reason}; {place}. Mend the source", refused(command, capsys))
    nibabel.save(nibabel.Nifti1Image(chest(seed=1), LAS), tmp_path / "files/whole.nii.gz")
    capsys.readouterr()
    main([*words, "--store", str(tmp_path / "two")])
    assert re.search(
        f"1 of the source's items could not be read and are quarantined:\n +{reason}\n{place}\n", capsys.readouterr().out
    )
    (shard,) = (tmp_path / "two/shards").glob("*/quarantine.parquet")
    assert pq.read_table(shard).column("path").to_pylist() == ["holes.nii.gz"]


def test_commands_for_radiographs_say_that_the_store_holds_ct(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = str(tmp_path / "ct")
    main(
        [
            "data",
            "prepare",
            "phantom",
            "--projection",
            "ct",
            "--studies",
            "1",
            "--spacing",
            "12",
            "--store",
            store,
            "--workers",
            "1",
        ]
    )
    capsys.readouterr()
    message = refused(["pretrain", "clip", "--store", store, "--run", str(tmp_path / "run")], capsys)
    assert "holds CT volumes; this needs radiographs. Give a store of radiographs." in message
    assert message.count("\n") == 1
