"""Tar shards: members grouped as WebDataset groups them, and everything that may be wrong with a shard or a sample."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from ct_volumes import LAS, chest
from dicom_files import dicom
from shards import png, write_tar

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.data.reading import Reading
from lingula.data.sources import tar_shards
from lingula.data.sources.container_config import WebDatasetConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.webdataset import WebDatasetSource
from lingula.data.store import Store
from lingula.data.study import Picture, Study, part_of
from lingula.data.volume_store import VolumeStore

ALLOW = WebDatasetConfig(allow_missing=True)
REPORT = "FINDINGS: Clear lungs.\nIMPRESSION: Normal."


def samples(first: int, count: int) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for number in range(first, first + count):
        members[f"{number:04d}.png"] = png(number)
        members[f"{number:04d}.txt"] = REPORT
        members[f"{number:04d}.json"] = {
            "patient_id": f"p{number // 2}",
            "age": 50 + number,
            "labels": ["Mass, left"] * (number % 2),
        }
    return members


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cxr"
    for shard in range(3):
        write_tar(folder / f"train-{shard:06d}.tar", samples(4 * shard, 4))
    write_tar(folder / "test-000000.tar", samples(12, 2))
    return folder


def pixels_of(source: WebDatasetSource, study: Study, index: int = 0) -> np.ndarray:
    read = source.read(study, index)
    assert isinstance(read, Picture)
    return read.pixels


def reason_of(source: WebDatasetSource, study: Study) -> str:
    with pytest.raises(UnreadableImage) as error:
        source.read(study, 0)
    return error.value.reason


def test_shards_become_a_store(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "prepare", "webdataset", "--root", str(root), "--size", "32", "--shard-studies", "3", "--keep-identifiers"]
    main([*command, "--workers", "1", "--store", str(tmp_path / "s"), "--shards", "{train-{000000..000002},test-000000}.tar"])
    out = capsys.readouterr().out
    assert "14 images, 14 images with text, 14 studies, 7 patients" in out
    assert "columns: report = txt" in out
    store = Store.open(tmp_path / "s")
    assert [len(store.rows(split)) for split in ("train", "val", "test")] == [12, 0, 2]
    assert store.about["findings"] == {"Mass, left": {"present": 7, "absent": 0, "uncertain": 0}}
    assert store.text(0) == "Clear lungs.\n\nNormal."
    expected = WebDatasetSource(root, WebDatasetConfig(shards="train-000002.tar"))
    place = list(store.column("study_id")).index("0009")
    assert (store.pixels(place) == Reading(size=32).square(pixels_of(expected, list(expected)[1]))).all()


def test_samples_become_studies(root: Path) -> None:
    studies = list(WebDatasetSource(root))
    assert [study.study_id for study in studies[:3]] == ["0012", "0013", "0000"]
    assert [study.split for study in studies] == ["test"] * 2 + ["train"] * 12
    assert studies[3].images[0].path == "train-000000.tar/0001.png"
    assert studies[3].report is not None
    assert studies[3].report.sections == {"findings": "Clear lungs.", "impression": "Normal."}
    assert (studies[3].patient_id, studies[3].labels, studies[3].extra) == ("p0", {"Mass, left": 1}, {"age": "51"})


def test_members_are_grouped_by_what_is_before_the_first_dot(tmp_path: Path) -> None:
    members = {
        "./a.b/one.frontal.PNG": png(1),
        "./a.b/one.Lateral.jpg": png(2),
        "./a.b/two.png": png(3),
        "./a.b/one.findings.txt": "Nodule.",
        "./a.b/one.impression.txt": "\ufeffCancer.",
        "./a.b/._two.png": png(4),
        "__index__": "x",
        "./a.b/two.seg.npy": b"x",
        "readme": "x",
    }
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", members))
    one, two = source
    assert [image.path for image in one.images] == ["x.tar/a.b/one.frontal.png", "x.tar/a.b/one.lateral.jpg"]
    assert [image.projection for image in one.images] == ["unknown", "lateral"]
    assert one.report is not None
    assert one.report.sections == {"findings": "Nodule.", "impression": "Cancer."}
    assert (pixels_of(source, one, 1) == read_radiograph(_written(tmp_path / "2.png", png(2)))).all()
    assert (two.study_id, two.report, two.split) == ("a.b/two", None, None)
    assert source.skipped == {"member that belongs to no sample": 3, "member of a kind that is not read (.npy)": 1}
    front = WebDatasetSource(tmp_path / "x.tar", WebDatasetConfig(image_members=("frontal.png",)))
    assert [len(study.images) for study in front] == [1]
    assert front.skipped["sample without an image"] == 1


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_deep_and_dicom_images_are_read_as_from_files(tmp_path: Path) -> None:
    stored = np.random.default_rng(3).integers(0, 4096, (9, 7), np.uint16)
    dicom(stored, BitsStored=12).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    _written(tmp_path / "deep.png", png(1, deep=True))
    names = ("a.dcm", "deep.png")
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", {name: (tmp_path / name).read_bytes() for name in names}))
    for study, name in zip(source, names, strict=True):
        expected = read_radiograph(tmp_path / name)
        assert expected.dtype == np.uint16
        assert (pixels_of(source, study) == expected).all()


@pytest.mark.parametrize("name", ["train-000000.tar.gz", "train-000000.tgz", "packed-train.tar"])
def test_packed_shards_are_as_good(root: Path, tmp_path: Path, name: str) -> None:
    plain = WebDatasetSource(root / "train-000000.tar")
    data = gzip.compress((root / "train-000000.tar").read_bytes())
    packed = WebDatasetSource(_written(tmp_path / name, data))
    assert [study.study_id for study in packed] == [study.study_id for study in plain]
    first, *_, last = packed
    assert (pixels_of(packed, last) == pixels_of(plain, list(plain)[-1])).all()
    assert (pixels_of(packed, first) == pixels_of(plain, next(iter(plain)))).all()


def whole_samples(data: bytes) -> int:
    """Count the samples that are surely whole in what is left of a tar of `samples`: those before the last one that it names."""
    left = zlib.decompressobj(31).decompress(data) if data[:2] == b"\x1f\x8b" else data
    heads = [left[place : place + 8] for place in range(0, len(left) - 511, 512) if left[place + 257 : place + 262] == b"ustar"]
    return max(0, len({head[:4] for head in heads}) - 1)


@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_cut_short_anywhere_gives_whole_samples_or_an_error(tmp_path: Path, packed: bool) -> None:
    whole = write_tar(tmp_path / "whole.tar", samples(0, 4))
    expected = [study.model_dump(exclude={"images"}) for study in WebDatasetSource(whole)]
    data = whole.read_bytes().rstrip(b"\0")
    data = gzip.compress(data + bytes(1024), 1) if packed else data
    cut = tmp_path / "cut.tar"
    counts = set()
    for length in range(0, len(data), 150):
        cut.write_bytes(data[:length])
        with pytest.raises(UserError, match=r"shard .*cut.tar is (empty|cut short|damaged)") as error:
            WebDatasetSource(cut)
        assert "\n" not in str(error.value)
        if whole_samples(data[:length]) == 0:
            with pytest.raises(UserError, match=r"hold no image \(shard that is damaged or cut short: 1\)"):
                WebDatasetSource(cut, ALLOW)
            continue
        source = WebDatasetSource(cut, ALLOW)
        found = list(source)
        assert len(found) == whole_samples(data[:length])
        assert [study.model_dump(exclude={"images"}) for study in found] == expected[: len(found)]
        assert source.skipped["shard that is damaged or cut short"] == 1
        assert all(pixels_of(source, study).shape == (20, 16) for study in found)
        counts.add(len(found))
    assert counts == {1, 2, 3}


def test_a_tar_damaged_in_the_middle(root: Path) -> None:
    shard = root / "train-000001.tar"
    data = bytearray(shard.read_bytes())
    place = data.index(b"0006.png")
    data[place : place + 512] = b"\xff" * 512
    shard.write_bytes(data)
    with pytest.raises(UserError, match=r"train-000001.tar is damaged in the middle.*go on with the 1 samples before that"):
        WebDatasetSource(root)
    assert len(WebDatasetSource(root, ALLOW)) == 14 - 3


def test_a_shard_damaged_after_it_was_listed_costs_its_images_alone(root: Path, tmp_path: Path) -> None:
    source = WebDatasetSource(root)
    shard = root / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:1000])
    (root / "train-000001.tar").unlink()
    studies = {study.study_id: study for study in source}
    assert reason_of(source, studies["0001"]) == "file is truncated"
    assert reason_of(source, studies["0005"]) == "its shard is missing"
    _written(root / "train-000002.tar", gzip.compress(png(0, (90, 90)))[:500])
    assert reason_of(source, studies["0009"]) == "its part of the shard cannot be read (EOFError)"
    assert prepare(source, tmp_path / "s", PrepareConfig(size=32), workers=1).quarantined == 11


def test_half_a_download_names_the_shards_that_are_missing(root: Path) -> None:
    pattern = "train-{000000..000004}.tar"
    with pytest.raises(
        UserError, match=r"2 of 5 shards are missing below .*\(train-000003.tar, train-000004.tar\).*--allow-missing"
    ):
        WebDatasetSource(root, WebDatasetConfig(shards=pattern))
    source = WebDatasetSource(root, WebDatasetConfig(shards=pattern, allow_missing=True))
    assert (len(source), source.skipped["shard that is missing"]) == (12, 2)
    with pytest.raises(UserError, match=r"no shard trian-\{0..1\}.tar in .*Did you mean 'train-00000"):
        WebDatasetSource(root, WebDatasetConfig(shards="trian-{0..1}.tar"))
    with pytest.raises(UserError, match=r"Give the folder to --root and the pattern to --shards"):
        WebDatasetSource(root / pattern)
    for endless in ("{0..999999999}.tar", "{5..1}.tar"):
        with pytest.raises(UserError, match="Count upwards"):
            WebDatasetSource(root, WebDatasetConfig(shards=endless))


def test_one_key_in_two_shards(root: Path) -> None:
    write_tar(root / "train-000003.tar", samples(3, 2))
    with pytest.raises(
        UserError, match=r"key '0003' is in two shards below .*train-000000.tar and train-000003.tar.*--keys-by-shard"
    ):
        WebDatasetSource(root)
    source = WebDatasetSource(root, WebDatasetConfig(keys_by_shard=True))
    assert len(source) == 16
    assert [study.study_id for study in source][-1] == "train-000003.tar/0004"


def test_samples_that_are_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_shards, "LARGEST_TEXT", 50)
    members = [
        ("0.txt", b"No image."),
        ("1.png", png(1)),
        ("2.png", b"broken"),
        ("3.png", png(3)),
        ("3.json", b"{broken"),
        ("4.png", png(4)),
        ("4.txt", b"\xff\xfe"),
        ("5.png", png(5)),
        ("5.json", b"[1]"),
        ("6.png", png(6)),
        ("6.png", png(7)),
        ("7.png", png(8)),
        ("7.txt", b"x" * 51),
        ("8.png", b""),
        ("9.png", png(9)),
        ("9.json", b'{"note": "\\ud800"}'),
        ("\udcff.png", png(10)),
    ]
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", members))
    assert source.skipped == {"sample without an image": 1, "member whose name is not UTF-8": 1}
    good, *bad = source
    assert (good.study_id, good.report) == ("1", None)
    assert pixels_of(source, good).shape == (20, 16)
    reasons = [
        "not a PNG, JPEG or DICOM image",
        "its .json is no JSON object",
        "its .txt is not UTF-8 text",
        "its .json is no JSON object",
        "its sample has two members .png",
        "its .txt is too large for text",
        "file is empty",
        "its .json is no JSON object",
    ]
    assert [reason_of(source, study) for study in bad] == reasons
    summary = prepare(source, tmp_path / "s", PrepareConfig(size=32, shard_studies=3), workers=1)
    assert (len(Store.open(summary.store)), summary.quarantined) == (1, 8)
    assert set(summary.reasons) == set(reasons)
    alone = write_tar(tmp_path / "y.tar", {"0.txt": "No image."})
    with pytest.raises(UserError, match=r"hold no image \(sample without an image: 1\)"):
        WebDatasetSource(alone)


def test_what_claims_to_be_larger_than_any_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", {"1.png": png(1)}))
    monkeypatch.setattr(tar_shards, "LARGEST", 99)
    assert reason_of(source, next(iter(source))).endswith("bytes are too many for an image")


def test_links_are_no_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (("1.png", tarfile.REGTYPE), ("2.png", tarfile.SYMTYPE), ("3.png", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            info.size = len(png()) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(png()))
    assert [study.study_id for study in WebDatasetSource(tmp_path / "x.tar")] == ["1"]


def test_labels_of_every_kind(tmp_path: Path) -> None:
    numbers = write_tar(tmp_path / "cls.tar", {"1.png": png(), "1.cls": "1\n", "2.png": png(), "2.cls": b"0", "3.png": png()})
    named = WebDatasetConfig(class_names=("Normal", "Pneumonia; viral"))
    assert [study.labels for study in WebDatasetSource(numbers, named)] == [
        {"Normal": 0, "Pneumonia; viral": 1},
        {"Normal": 1, "Pneumonia; viral": 0},
        {},
    ]
    assert next(iter(WebDatasetSource(numbers))).labels == {"0": 0, "1": 1}
    values = {
        "1.png": png(),
        "1.json": {"labels": {"Edema": 1, "Mass": -1}},
        "2.png": png(),
        "2.json": {"labels": {"Mass": None}},
    }
    found = [study.labels for study in WebDatasetSource(write_tar(tmp_path / "map.tar", values))]
    assert found == [{"Edema": 1, "Mass": -1}, {"Edema": None, "Mass": None}]
    both = {"1.png": png(), "1.json": {"labels": {"age": 1}, "age": 3}}
    with pytest.raises(UserError, match=r"'age' is a label and a column of"):
        WebDatasetSource(write_tar(tmp_path / "both.tar", both))


def test_ids_of_the_json_go_before_keys(tmp_path: Path) -> None:
    members = {f"{number}.png": png(number) for number in range(3)}
    about = {f"{number}.json": {"study_id": "s", "view": "PA" if number else ""} for number in range(2)}
    source = WebDatasetSource(write_tar(tmp_path / "x.tar", {**members, **about}))
    assert [(study.study_id, len(study.images)) for study in source] == [("s", 2), ("2", 1)]
    apart = WebDatasetSource(tmp_path / "x.tar", columns=CsvConfig(study_id_column="none"))
    assert [study.study_id for study in apart] == ["x.tar/0.png", "x.tar/1.png", "x.tar/2.png"]
    with pytest.raises(UserError, match=r"no column 'subject' \(named by --patient-id-column\). It has study_id, view"):
        WebDatasetSource(tmp_path / "x.tar", columns=CsvConfig(patient_id_column="subject"))


def test_a_part_travels_without_the_rest_and_without_open_files(root: Path) -> None:
    source = WebDatasetSource(root)
    studies = list(source)[2:4]
    expected = [pixels_of(source, study) for study in studies]
    data = pickle.dumps(part_of(source, studies))
    assert b"0001.png" in data
    assert b"0007.png" not in data
    copy = pickle.loads(data)
    assert all((pixels_of(copy, study) == pixels).all() for study, pixels in zip(studies, expected, strict=True))
    assert copy.settings() == source.settings()


def test_settings_change_with_samples_and_shards(root: Path) -> None:
    before = WebDatasetSource(root).settings()
    assert WebDatasetSource(root).settings() == before
    write_tar(root / "train-000002.tar", {**samples(8, 4), "0008.txt": "Other."})
    assert WebDatasetSource(root).settings() != before


def test_volumes_of_nifti_members(tmp_path: Path) -> None:
    volume = gzip.compress(nibabel.Nifti1Image(chest(), LAS).to_bytes())
    shard = write_tar(tmp_path / "x.tar", {"1.nii.gz": volume, "1.txt": REPORT, "2.nii.gz": volume[:-50], "3.png": png()})
    source = WebDatasetSource(shard, volumes=True)
    summary = prepare(source, tmp_path / "s", PrepareVolumesConfig(), workers=1)
    store = VolumeStore.open(summary.store)
    assert (len(store), summary.quarantined, store.shape(0)) == (1, 1, chest().shape)
    assert source.skipped == {"member of a kind that is not read (.png)": 1, "sample without an image": 1}


def test_a_column_of_images_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["data", "prepare", "webdataset", "--root", str(root), "--store", "s", "--image-column", "png"])
    assert left.value.code == 2
    assert "--image-column is for tables only. Use --image-members" in capsys.readouterr().err
