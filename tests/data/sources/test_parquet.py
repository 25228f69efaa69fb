"""Parquet shards: the layout that Hugging Face `datasets` writes, and everything that may be wrong with one."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
from ct_volumes import LAS, chest
from dicom_files import dicom
from shards import FEATURES, PICTURE, WRITTEN, picture, png, write_parquet

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.data.sources.container_config import ContainerConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.parquet import ParquetSource
from lingula.data.store import Store
from lingula.data.study import Picture, Study
from lingula.data.volume_store import VolumeStore

ALLOW = ContainerConfig(allow_missing=True)


def rows(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "image": picture(png(number), f"{number}.png"),
            "text": f"FINDINGS: Number {number}. IMPRESSION: Normal." if number % 2 else None,
            "label": (0, 1, -1)[number % 3],
            "age": 40.0 + number,
        }
        for number in range(first, first + count)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cxr"
    write_parquet(folder / "data/train-00000-of-00002.parquet", rows(4), group=2)
    write_parquet(folder / "data/train-00001-of-00002.parquet", rows(3, 4))
    write_parquet(folder / "data/validation-00000-of-00001.parquet", rows(2, 7))
    return folder


def pixels_of(source: ParquetSource, study: Study, index: int = 0) -> np.ndarray:
    read = source.read(study, index)
    assert isinstance(read, Picture)
    return read.pixels


def test_the_tests_write_the_layout_of_datasets(tmp_path: Path) -> None:
    row = {"image": picture(png()), "text": "x", "label": 0, "labels": [0, 1], "age": 1.5}
    schema = pq.read_schema(write_parquet(tmp_path / "x.parquet", [row]))
    assert {field.name: str(field.type) for field in schema} == WRITTEN
    assert schema.metadata == {b"huggingface": json.dumps({"info": {"features": FEATURES}}).encode()}


def test_a_folder_of_shards_becomes_a_store(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "prepare", "parquet", "--root", str(root), "--size", "32", "--workers", "1", "--shard-studies", "3"]
    main([*command, "--keep-identifiers", "--store", str(tmp_path / "s"), "--report-column", "text"])
    out = capsys.readouterr().out
    assert "9 images, 4 images with text, 9 studies" in out
    assert "columns: labels = label" in out
    store = Store.open(tmp_path / "s")
    assert [len(store.rows(split)) for split in ("train", "val", "test")] == [7, 2, 0]
    assert store.about["name"] == "cxr"
    place = list(store.column("study_id")).index("data/train-00000-of-00002.parquet/1")
    assert store.text(place).startswith("Number 1.")
    assert store.about["findings"] == {
        "NORMAL": {"present": 3, "absent": 3, "uncertain": 0},
        "PNEUMONIA": {"present": 3, "absent": 3, "uncertain": 0},
    }


def test_rows_become_studies(root: Path) -> None:
    studies = list(ParquetSource(root, columns=CsvConfig(report_column="text")))
    assert [study.split for study in studies] == ["train"] * 7 + ["val"] * 2
    assert studies[0].report is None
    assert studies[1].report is not None
    assert studies[1].report.sections == {"findings": "Number 1.", "impression": "Normal."}
    assert [study.labels for study in studies[:3]] == [{"NORMAL": 1, "PNEUMONIA": 0}, {"NORMAL": 0, "PNEUMONIA": 1}, {}]
    assert studies[8].extra == {"age": "48"}
    assert studies[4].images[0].path == studies[4].study_id == "data/train-00001-of-00002.parquet/0"
    assert not any(study.split for study in ParquetSource(root, columns=CsvConfig(split_column="none")))


def test_images_are_read_as_from_files(tmp_path: Path) -> None:
    stored = np.random.default_rng(3).integers(0, 4096, (9, 7), np.uint16)
    dicom(stored, BitsStored=12, PhotometricInterpretation="MONOCHROME1").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (tmp_path / "deep.png").write_bytes(png(1, deep=True))
    cells = [picture((tmp_path / name).read_bytes()) for name in ("a.dcm", "deep.png")]
    source = ParquetSource(write_parquet(tmp_path / "x.parquet", [{"image": cell} for cell in cells]))
    assert source.name == "x"
    for study, name in zip(source, ("a.dcm", "deep.png"), strict=True):
        expected = read_radiograph(tmp_path / name)
        assert expected.dtype == np.uint16
        assert (pixels_of(source, study) == expected).all()


def test_one_row_group_is_read_at_a_time_and_none_travels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ParquetSource(root)
    read: list[tuple[int, Any]] = []
    whole = pq.ParquetFile.read_row_group

    def counted(self: Any, group: int, columns: Any = None) -> Any:
        read.append((group, columns))
        return whole(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    studies = list(source)[:4]
    assert not read
    copy = pickle.loads(pickle.dumps(source))
    seen = [pixels_of(copy, study) for study in studies]
    assert read == [(0, ["image"]), (1, ["image"])]
    assert b"PNG" not in pickle.dumps(copy)
    assert len(pickle.dumps(copy)) < 3000
    assert (pixels_of(copy, studies[0]) == seen[0]).all()


def test_images_that_are_not_there_or_broken_are_quarantined(tmp_path: Path) -> None:
    cells = [picture(png()), None, picture(None), picture(None, "a.png"), picture(b"x"), picture(png()[:100])]
    source = ParquetSource(write_parquet(tmp_path / "x.parquet", [{"image": cell} for cell in cells]))
    reasons = []
    for study in list(source)[1:]:
        with pytest.raises(UnreadableImage) as error:
            source.read(study, 0)
        reasons.append(error.value.reason)
    no, named = "its cell holds no image", "its cell names a file and holds no bytes"
    assert reasons == [no, no, named, "not a PNG, JPEG or DICOM image", "file is truncated"]
    assert prepare(source, tmp_path / "s", PrepareConfig(size=32), workers=1).quarantined == 5


def test_a_damaged_row_group_costs_its_own_images_alone(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", rows(4), group=2)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    source = ParquetSource(path)
    first, _, third, fourth = source
    with pytest.raises(UnreadableImage, match="its part of the shard cannot be read"):
        source.read(first, 0)
    assert pixels_of(source, third).shape == (20, 16)
    assert prepare(source, tmp_path / "s", PrepareConfig(size=32), workers=1).quarantined == 2
    write_parquet(path, rows(1))
    with pytest.raises(UnreadableImage, match=r"cannot be read \(IndexError\)"):
        pickle.loads(pickle.dumps(source)).read(fourth, 0)
    path.unlink()
    with pytest.raises(UnreadableImage, match=r"cannot be read \(FileNotFoundError\)"):
        source.read(first, 0)


@pytest.mark.parametrize("kept", [0, 3, 200, -1])
def test_a_shard_that_was_cut_short(root: Path, kept: int) -> None:
    shard = root / "data/train-00001-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"00001-of-00002.parquet is damaged or no parquet file.*--allow-missing") as error:
        ParquetSource(root)
    assert "\n" not in str(error.value)
    source = ParquetSource(root, ALLOW)
    assert (len(source), source.skipped["shard that is damaged or cut short"]) == (6, 1)


def test_a_damaged_column_of_text_is_the_shards_damage(root: Path) -> None:
    shard = root / "data/train-00001-of-00002.parquet"
    group = pq.ParquetFile(shard).metadata.row_group(0)
    text = next(group.column(place) for place in range(group.num_columns) if group.column(place).path_in_schema == "text")
    data = bytearray(shard.read_bytes())
    data[text.dictionary_page_offset : text.dictionary_page_offset + 12] = b"\xff" * 12
    shard.write_bytes(data)
    with pytest.raises(UserError, match="is damaged or no parquet file"):
        ParquetSource(root)
    assert len(ParquetSource(root, ALLOW)) == 6


def test_half_a_download_names_the_shards_that_are_missing(root: Path) -> None:
    (root / "data/train-00001-of-00002.parquet").unlink()
    with pytest.raises(
        UserError, match=r"1 of 3 shards are missing below .*\(data/train-00001-of-00002.parquet\).*--allow-missing"
    ):
        ParquetSource(root)
    source = ParquetSource(root, ALLOW)
    assert (len(source), source.skipped["shard that is missing"]) == (6, 1)


def test_which_shards_are_taken(root: Path, tmp_path: Path) -> None:
    assert len(ParquetSource(root, ContainerConfig(shards="data/validation-*.parquet"))) == 2
    named = ContainerConfig(shards="data/train-{00000..00001}-of-00002.parquet")
    assert len(ParquetSource(root, named)) == 7
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no shard \*.parquet in .*It is empty"):
        ParquetSource(tmp_path / "empty")
    (tmp_path / "cxr.txt").write_text("")
    with pytest.raises(UserError, match=r"no such folder of shards: .*Did you mean 'cxr'\?"):
        ParquetSource(tmp_path / "cxr1")
    (root / ".cache").mkdir()
    (root / ".cache/x.parquet").write_bytes(b"")
    assert len(ParquetSource(root)) == 9


def test_columns_that_are_not_there(root: Path, tmp_path: Path) -> None:
    for options, said in (
        ({"text_column": "caption"}, r"no column 'caption' \(named by --text-column\). It has text, label, age"),
        ({"image_column": "scan"}, r"no column 'scan' \(named by --image-column\). It has image, text, label, age"),
        ({"image_column": "text"}, r"column 'text' of .* holds no images. These do: image"),
        ({"finding_columns": ("Edema",)}, r"no column 'Edema' \(named by --finding-columns\)"),
    ):
        with pytest.raises(UserError, match=said):
            ParquetSource(root, columns=CsvConfig(**options))
    write_parquet(tmp_path / "two/x.parquet", [{"front": picture(png()), "side": picture(png())}], {})
    with pytest.raises(UserError, match=r"has 2 columns of images \(front, side\). Name one with --image-column"):
        ParquetSource(tmp_path / "two")
    assert len(ParquetSource(tmp_path / "two", columns=CsvConfig(image_column="side"))) == 1
    write_parquet(tmp_path / "none/x.parquet", [{"text": "x"}])
    with pytest.raises(UserError, match=r"has no columns of images \(text\)"):
        ParquetSource(tmp_path / "none")


def test_shards_of_two_data_sets(root: Path) -> None:
    write_parquet(root / "other/test.parquet", [{"image": picture(png()), "boxes": 3}])
    with pytest.raises(
        UserError, match=r"other/test.parquet differs from the first one in its columns \(age, boxes, label, text\)"
    ):
        ParquetSource(root)


def test_columns_by_obvious_names_and_images_as_bare_bytes(tmp_path: Path) -> None:
    row = {
        "jpg": png(),
        "Caption": "Clear.",
        "Patient ID": 7,
        "gender": "Male",
        "Findings": "None.",
        "sound": None,
        "__key__": "secret",
        "day": np.datetime64("2020-01-02").item(),
    }
    source = ParquetSource(write_parquet(tmp_path / "x.parquet", [row], {}))
    (study,) = source
    assert study.patient_id == "7"
    assert study.report is not None
    assert study.report.sections == {"findings": "None."}
    assert study.extra == {"sex": "M", "day": "2020-01-02"}
    assert source.taken["patient_id_column"] == "Patient ID"
    (named,) = ParquetSource(tmp_path / "x.parquet", columns=CsvConfig(study_id_column="__key__"))
    assert (study.study_id, named.study_id) == ("x.parquet/0", "secret")
    assert pixels_of(source, study).shape == (20, 16)


def test_labels_of_every_kind(tmp_path: Path) -> None:
    names = ["Mass", "Effusion, left"]
    lists = {"image": {"_type": "Image"}, "labels": {"feature": {"names": names, "_type": "ClassLabel"}, "_type": "Sequence"}}
    cells = [{"image": picture(png()), "labels": found} for found in ([0, 1], [1], [], None)]
    studies = list(ParquetSource(write_parquet(tmp_path / "list.parquet", cells, lists)))
    assert [study.labels for study in studies] == [{"Mass": 1, "Effusion, left": 1}, {"Mass": 0, "Effusion, left": 1}, {}, {}]
    numbers = write_parquet(tmp_path / "number.parquet", [{"image": png(), "label": each} for each in (1, 0)], {})
    config = ContainerConfig(class_names=("Normal", "Pneumonia, viral"))
    found = [study.labels for study in ParquetSource(numbers, config)]
    assert found == [{"Normal": 0, "Pneumonia, viral": 1}, {"Normal": 1, "Pneumonia, viral": 0}]
    values = [{"image": png(), "labels": {"Edema": each, "Mass": 1}} for each in (-1, None)]
    found = [study.labels for study in ParquetSource(write_parquet(tmp_path / "map.parquet", values, {}))]
    assert found == [{"Edema": -1, "Mass": 1}, {"Edema": None, "Mass": 1}]
    columns = [{"image": png(), "Edema": edema, "Mass": mass} for edema, mass in ((1.0, True), (float("nan"), False))]
    own = CsvConfig(finding_columns=("Edema", "Mass"))
    found = [study.labels for study in ParquetSource(write_parquet(tmp_path / "own.parquet", columns, {}), columns=own)]
    assert found == [{"Edema": 1, "Mass": 1}, {"Edema": None, "Mass": 0}]


def test_a_list_of_images_is_one_study(tmp_path: Path) -> None:
    images = [[picture(png(1)), picture(png(2))], [], [picture(png(3))], None]
    cells = [{"images": each, "text": f"T{number}."} for number, each in enumerate(images)]
    features = {"images": {"feature": {"_type": "Image"}, "_type": "List"}}
    source = ParquetSource(write_parquet(tmp_path / "x.parquet", cells, features))
    one, two = source
    assert [image.path for image in one.images] == ["x.parquet/0.0", "x.parquet/0.1"]
    assert one.report is not None
    assert one.report.text == "T0."
    assert not (pixels_of(source, one, 0) == pixels_of(source, one, 1)).all()
    assert two.study_id == "x.parquet/2"
    assert source.skipped["row without an image"] == 2
    assert PICTURE.num_fields == 2


def test_volumes_of_nifti_bytes(tmp_path: Path) -> None:
    volume = nibabel.Nifti1Image(chest(), LAS).to_bytes()
    cells = [{"nifti": picture(gzip.compress(volume), "a.nii.gz")}, {"nifti": picture(volume)}, {"nifti": picture(b"none")}]
    features = {"nifti": {"_type": "Image"}}
    source = ParquetSource(write_parquet(tmp_path / "x.parquet", cells, features), volumes=True)
    summary = prepare(source, tmp_path / "s", PrepareVolumesConfig(), workers=1)
    store = VolumeStore.open(summary.store)
    assert (len(store), summary.quarantined) == (2, 1)
    assert store.shape(0) == store.shape(1) == chest().shape
    assert next(iter(source)).images[0].projection == "CT"


def test_options_that_are_for_tables_are_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["data", "prepare", "parquet", "--root", str(root), "--store", "s", "--boxes-table", "b.csv"])
    assert left.value.code == 2
    assert "--boxes-table is for lingula data prepare csv only" in capsys.readouterr().err
