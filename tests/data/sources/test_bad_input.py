"""Bad input, for every public data set of the catalogue: a new one must be among the miniatures of `published.every`.

What is of one data set or format alone has its own test: ids with and without letters (test_mimic_cxr), two reports of one study
(test_chexpert, test_csv_table, and below), dialects of run lengths (test_run_length, test_csv_table), damaged archives
(test_indiana, test_public).
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from miniatures import write_text
from published import mimic_cxr, padchest
from published.every import EVERY, Published

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.sources.catalogue import PUBLIC, open_public, public_class
from lingula.data.sources.public import PublicSource
from lingula.data.study import Study

PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
every = pytest.mark.parametrize("name", EVERY)


def test_no_data_set_of_the_catalogue_escapes() -> None:
    assert list(EVERY) == list(PUBLIC)


def written(name: str, root: Path) -> Published:
    root.mkdir(parents=True, exist_ok=True)
    EVERY[name].write(root)
    return EVERY[name]


def opened(name: str, root: Path, allow_missing: bool = False) -> PublicSource:
    own = EVERY[name].config(root).model_dump() | {"allow_missing": allow_missing}
    return open_public(name, root, public_class(name).settings_class(**own))


def refusal(name: str, root: Path, allow_missing: bool = False) -> str:
    with pytest.raises(UserError) as error:
        opened(name, root, allow_missing)
    assert "\n" not in str(error.value)
    assert error.value.remedy
    return str(error.value)


def image_files(name: str, root: Path) -> list[Path]:
    return sorted({root / image.path for study in opened(name, root) for image in study.images})


def take_away(name: str, image: Path) -> Path:
    """Remove an image, of a series all slices; return what was removed."""
    if not EVERY[name].series:
        image.unlink()
        return image
    shutil.rmtree(image.parent)
    return image.parent


def add_stranger(name: str, image: Path) -> str:
    """Add an image that no table lists, or a series that is there; return what the data set says of it."""
    if EVERY[name].series:
        shutil.copytree(image.parent, image.parent.with_name("stranger"))
        return "series that is there twice"
    ending = "".join(image.suffixes[-2:]) if image.suffix == ".gz" else image.suffix
    shutil.copy(image, image.with_name(f"stranger_0000{ending}"))
    return "image file without a row in the tables"


def plain(source: PublicSource) -> list[Study]:
    return sorted(source, key=lambda study: study.study_id)


def read(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    before = read(path).decode()
    after = change(before)
    assert after != before
    write_text(path, after)


@every
def test_a_wrong_root_says_what_was_looked_for_and_the_nearest_thing_found(name: str, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    write_text(tmp_path / "notes/readme.md", "nothing")
    said = refusal(name, tmp_path)
    assert said.startswith("no ")
    assert f"in {tmp_path} or below" in said
    assert "It holds notes." in said or "Did you mean 'readme.md'" in said
    written(name, tmp_path / "unpacked")
    write_text(tmp_path / "unpacked.zip", "")
    with pytest.raises(UserError, match=r"no such folder: .*unpakced. Did you mean 'unpacked'\?"):
        opened(name, tmp_path / "unpakced")


@every
def test_half_a_download_lists_what_is_missing_and_goes_on_when_allowed(name: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    files = image_files(name, tmp_path)
    whole = sum(len(study.images) for study in opened(name, tmp_path))
    gone = take_away(name, files[-2] if len(files) > 2 else files[-1])
    said = refusal(name, tmp_path)
    assert f"1 of {len(files)} images of {name} are missing (first: '{gone.relative_to(tmp_path).as_posix()}'" in said or (
        f"1 of {len(files)} images of {name} are missing (first: '{gone.name}'" in said
    )
    assert "--allow-missing" in said
    source = opened(name, tmp_path, allow_missing=True)
    assert source.skipped["image that is missing"] == 1
    assert sum(len(study.images) for study in source) == whole - 1


@every
def test_no_image_at_all_is_an_error_even_when_missing_ones_are_allowed(name: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    for path in image_files(name, tmp_path):
        take_away(name, path)
    assert f"images of {name} is below {tmp_path}" in refusal(name, tmp_path, allow_missing=True)


@pytest.mark.parametrize(("name", "table"), [(name, table) for name, about in EVERY.items() for table in about.renamed])
def test_a_table_of_another_version_names_the_table_and_what_it_lacks(name: str, table: str, tmp_path: Path) -> None:
    column = written(name, tmp_path).renamed[table]
    rewrite(tmp_path / table, lambda text: text.replace(column, column[:2] + "zzz" + column[2:]))
    said = refusal(name, tmp_path)
    assert Path(table).name in said
    assert column.strip(' ",') in said or "Did you mean" in said or "COCO" in said


@pytest.mark.parametrize("form", ["gz", "bom", "crlf"])
@every
def test_tables_may_be_packed_marked_or_from_windows(name: str, form: str, tmp_path: Path) -> None:
    about = written(name, tmp_path)
    expected = plain(opened(name, tmp_path))
    for table in (*about.renamed, *about.lists):
        path = tmp_path / table
        content = read(path)
        if form == "gz":
            path.unlink()
            write_text(path.with_suffix("") if path.suffix == ".gz" else Path(f"{path}.gz"), content.decode())
        else:
            lines = content.replace(b"\r\n", b"\n")
            changed = b"\xef\xbb\xbf" + content if form == "bom" else lines.replace(b"\n", b"\r\n")
            write_text(path, changed.decode())
    assert plain(opened(name, tmp_path)) == expected


@every
def test_rows_that_come_twice_count_once(name: str, tmp_path: Path) -> None:
    about = written(name, tmp_path)
    expected = plain(opened(name, tmp_path))
    if not about.repeats:
        return
    for table in about.renamed:
        rewrite(tmp_path / table, lambda text: "\n".join([*text.splitlines(), *text.splitlines()[1:]]))
    assert plain(opened(name, tmp_path)) == expected


@every
def test_an_image_that_no_table_lists_is_counted(name: str, tmp_path: Path) -> None:
    about = written(name, tmp_path)
    expected = plain(opened(name, tmp_path))
    before = opened(name, tmp_path).skipped
    reason = add_stranger(name, image_files(name, tmp_path)[0])
    if not about.listed:
        assert "has" in refusal(name, tmp_path) or "no mask" in refusal(name, tmp_path)
        return
    source = opened(name, tmp_path)
    assert source.skipped[reason] == before[reason] + 1
    assert plain(source) == expected


@pytest.mark.parametrize(
    ("name", "table", "old", "new"),
    [
        ("mimic-cxr-jpg", "mimic-cxr-2.0.0-chexpert.csv.gz", ",-1.0,", ",2.0,"),
        ("chexpert", "train.csv", ",-1.0,", ",2.0,"),
        ("nih", "Data_Entry_2017_v2020.csv", "Pneumonia|Mass", "Pneumonia|Mas"),
        ("rsna", "stage_2_train_labels.csv", ",,,,,0", ",,,,,nan"),
        ("rsna", "stage_2_train_labels.csv", ",,,,,0", ",,,,,-1"),
        ("rsna", "stage_2_train_labels.csv", ",,,,,0", ",,,,,"),
        ("covidx", "train_COVIDx9A.txt", "normal", "-1"),
        ("object-cxr", "train.csv", "0 1 1 4 4", "-1"),
        ("vindr-cxr", "annotations/image_labels_train.csv", ",0,0,0,1", ",0,0,0,-1"),
        ("vindr-cxr", "annotations/image_labels_train.csv", ",0,0,0,1", ",0,0,0,nan"),
        ("vindr-cxr", "annotations/image_labels_train.csv", ",0,0,0,1", ",0,0,0,"),
        ("padchest", PADCHEST, "\"['normal']\"", "-1"),
        ("ct-rate", "dataset/multi_abnormality_labels/train_predicted_labels.csv", ",1,", ",-1,"),
        ("ct-rate", "dataset/multi_abnormality_labels/train_predicted_labels.csv", ",1,", ",nan,"),
        ("ct-rate", "dataset/multi_abnormality_labels/train_predicted_labels.csv", ",1,", ",,"),
        ("rad-chestct", "imgtrain_Abnormality_and_Location_Labels.csv", ",1,", ",-1,"),
        ("rad-chestct", "imgtrain_Abnormality_and_Location_Labels.csv", ",1,", ",nan,"),
        ("bimcv-r", "meta/BIMCV_meta.csv", "['normal']", "-1"),
        ("merlin", "zero_shot_findings_disease_cls.csv", ",1,", ",2,"),
        ("merlin", "zero_shot_findings_disease_cls.csv", ",1,", ",nan,"),
    ],
)
def test_labels_that_the_data_set_does_not_have_are_errors(name: str, table: str, old: str, new: str, tmp_path: Path) -> None:
    written(name, tmp_path)
    rewrite(tmp_path / table, lambda text: text.replace(old, new, 1))
    refusal(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "table", "old", "new", "labels"),
    [
        ("nih", "Data_Entry_2017_v2020.csv", "Hernia", "", {}),
        ("nih", "Data_Entry_2017_v2020.csv", "Hernia", "nan", {}),
        ("siim", "train-rle.csv", ", -1", ",", {"Pneumothorax": 0}),
        ("padchest", PADCHEST, "\"['exclude', 'unchanged']\"", "nan", {}),
        ("bimcv-r", "meta/BIMCV_meta.csv", "['normal']", "nan", {}),
        ("bimcv-r", "meta/BIMCV_meta.csv", "['normal']", "", {}),
        ("chexpert", "train.csv", ",-1.0,1.0,,-1.0", ",nan,1.0,,-1.0", None),
        ("mimic-cxr-jpg", "mimic-cxr-2.0.0-chexpert.csv.gz", ",-1.0,", ",nan,", None),
    ],
)
def test_blank_labels_are_not_known(
    name: str, table: str, old: str, new: str, labels: dict[str, int] | None, tmp_path: Path
) -> None:
    """Of SIIM a blank is as good as -1: nothing is there."""
    written(name, tmp_path)
    before = {study.study_id: study.labels for study in opened(name, tmp_path)}
    rewrite(tmp_path / table, lambda text: text.replace(old, new))
    after = {study.study_id: study.labels for study in opened(name, tmp_path)}
    if labels is not None:
        assert labels in after.values()
        return
    changed = [(before[study][finding], value) for study in after for finding, value in after[study].items()]
    assert (-1, None) in changed
    assert all(was == now or (was, now) == (-1, None) for was, now in changed)


def test_two_reports_of_one_study(tmp_path: Path) -> None:
    """PadChest's are joined; of two files of MIMIC-CXR the first by path counts, the other one is told of."""
    root = padchest.mini(tmp_path / "padchest")
    rewrite(root / PADCHEST, lambda text: text.replace("L,1, sin hallazg", "L,1, otro"))
    one = next(study for study in opened("padchest", root) if study.study_id == "s1")
    assert one.report is not None
    assert one.report.text == "sin hallazg\n\notro"
    root = mimic_cxr.write_reports(mimic_cxr.mini(tmp_path / "mimic"))
    write_text(root / "other/s50414267.txt", "FINDINGS: Other.")
    source = opened("mimic-cxr-jpg", root)
    assert source.skipped["report file called like another one, not read (the first by path is)"] == 1
    study = next(study for study in source if study.study_id == "s50414267")
    assert study.report is not None
    assert study.report.sections["impression"] == "No acute cardiopulmonary process."


def test_tables_that_list_no_image(tmp_path: Path) -> None:
    written("indiana", tmp_path)
    for path in (tmp_path / "ecgen-radiology").iterdir():
        rewrite(path, lambda text: text.replace("parentImage", "picture") + " ")
    assert f"the tables of indiana below {tmp_path} list no image" in refusal("indiana", tmp_path, allow_missing=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [(gzip.compress(b"\xff\xfe"), "is not UTF-8 text"), (gzip.compress(b"a\n")[:-9], "cannot be unpacked")],
    ids=["no text", "cut off"],
)
def test_a_list_that_is_no_text_or_cannot_be_unpacked(content: bytes, said: str, tmp_path: Path) -> None:
    written("nih", tmp_path)
    (tmp_path / "test_list.txt").unlink()
    (tmp_path / "test_list.txt.gz").write_bytes(content)
    assert said in refusal("nih", tmp_path)


@every
def test_the_command_says_it_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["data", "prepare", name, "--root", str(tmp_path / "in"), "--store", str(tmp_path / "s")])
    error = capsys.readouterr().err
    assert (left.value.code, error.count("\n"), error[:10]) == (2, 1, "error: no ")
    assert not (tmp_path / "s").exists()
