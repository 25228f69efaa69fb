"""What every public source does with roots, tables and files that are not as published."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import pytest
from miniatures import nih, prepared, rsna, write_picture, write_text

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.readers import UnreadableImage
from lingula.data.sources.catalogue import PUBLIC, open_public, public_class
from lingula.data.sources.nih import NihSource
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.published_rows import box_of, number

ALLOW = PublicConfig(allow_missing=True)


def test_a_root_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    nih(tmp_path / "chestxray14")
    with pytest.raises(UserError, match=r"no such folder: .*Did you mean 'chestxray14'"):
        NihSource(tmp_path / "chestxray41")
    write_text(tmp_path / "chestxray41.zip", "")
    with pytest.raises(UserError, match=r"Did you mean 'chestxray14'"):
        NihSource(tmp_path / "chestxray41")


def test_a_wrong_root_says_what_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    rsna(tmp_path)
    with pytest.raises(UserError, match=r"no data_entry_2017\*.csv \(or .gz\) in .*It holds stage_2_detailed"):
        NihSource(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"It is empty"):
        NihSource(tmp_path / "empty")


def test_a_root_one_folder_too_high_is_as_good(tmp_path: Path) -> None:
    nih(tmp_path / "data/nih")
    assert len(NihSource(tmp_path)) == 12


def test_half_a_download_lists_what_is_missing(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih")
    for name in (
        "images_002/images/00000002_000.png",
        "images_002/images/00000002_001.png",
        "images_004/images/00000004_001.png",
    ):
        (root / name).unlink()
    with pytest.raises(UserError, match=r"3 of 12 images of nih are missing \(first: '00000002_000.png'.*--allow-missing"):
        NihSource(root)
    source = NihSource(root, ALLOW)
    assert source.skipped["image that is missing"] == 3
    assert len(source) == 9
    assert len(prepared(source, tmp_path / "store")) == 9


def test_no_image_at_all(tmp_path: Path) -> None:
    root = nih(tmp_path)
    for path in list(root.rglob("*.png")):
        path.unlink()
    with pytest.raises(UserError, match=r"none of the 12 images of nih is below .*There is no image at all"):
        NihSource(root, ALLOW)
    assert len(NihSource(root, tables_only=True)) == 12


def test_files_that_no_table_names_are_counted_and_broken_ones_quarantined(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih")
    write_picture(root / "images_001/images/99999999_000.png")
    write_text(root / "__MACOSX/._Data_Entry_2017_v2020.csv", "junk")
    (root / "images_001/images/00000001_000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    source = NihSource(root)
    assert source.skipped["image file without a row in the tables"] == 1
    store = prepared(source, tmp_path / "store")
    assert len(store) == 11
    assert store.about["quarantined"] == 1


@pytest.mark.parametrize("form", ["gz", "bom", "crlf"])
def test_tables_may_be_packed_marked_or_from_windows(tmp_path: Path, form: str) -> None:
    root = nih(tmp_path)
    expected = list(NihSource(root))
    table = root / "Data_Entry_2017_v2020.csv"
    content = table.read_bytes()
    if form == "gz":
        table.unlink()
        Path(f"{table}.gz").write_bytes(gzip.compress(content))
    else:
        changed = b"\xef\xbb\xbf" + content if form == "bom" else content.replace(b"\r\n", b"\n")
        assert changed != content
        table.write_bytes(changed)
    assert list(NihSource(root)) == expected


def test_a_packed_table_that_was_cut_short(tmp_path: Path) -> None:
    root = nih(tmp_path)
    table = root / "Data_Entry_2017_v2020.csv"
    Path(f"{table}.gz").write_bytes(gzip.compress(table.read_bytes())[:-20])
    table.unlink()
    with pytest.raises(UserError, match=r"cannot be unpacked.*Download it again"):
        NihSource(root)


def test_repeated_rows_count_once_and_contradictions_are_errors(tmp_path: Path) -> None:
    root = nih(tmp_path)
    table = root / "Data_Entry_2017_v2020.csv"
    lines = table.read_text().splitlines()
    write_text(table, "\n".join([*lines, lines[3]]))
    source = NihSource(root)
    assert (len(source), source.skipped["row that repeats another one"]) == (12, 1)
    write_text(table, "\n".join([*lines, lines[3].replace(",M,", ",F,").replace(",PA,", ",AP,")]))
    with pytest.raises(UserError, match=r"two different rows with Image Index '00000002_000.png'"):
        NihSource(root)


def test_split_lists_take_the_place_of_a_rule(tmp_path: Path) -> None:
    root = nih(tmp_path / "nih")
    write_text(tmp_path / "lists/train.txt", "00000001_000.png 0 1\n00000001_001\n\n")
    write_text(tmp_path / "lists/valid.txt", "images/00000002_000.png\nunknown.png\n")
    write_text(tmp_path / "lists/test.txt", "00000003_000\n")
    source = NihSource(root, PublicConfig(split_lists=tmp_path / "lists"))
    splits = {study.study_id: study.split for study in source}
    assert splits == {"00000001_000": "train", "00000001_001": "train", "00000002_000": "val", "00000003_000": "test"}
    assert source.skipped["study that no split list names"] == 8
    assert source.skipped["line of a split list without a study"] == 1
    source.check_apart()
    write_text(tmp_path / "lists/test.txt", "00000001_000\n")
    with pytest.raises(UserError, match=r"'00000001_000' is in two lists .*train and test"):
        NihSource(root, PublicConfig(split_lists=tmp_path / "lists"))
    write_text(tmp_path / "lists/test.txt", "00000002_001\n")
    apart = NihSource(root, PublicConfig(split_lists=tmp_path / "lists"))
    with pytest.raises(UserError, match=r"split 'lists' of nih puts 1 patients into two splits. Use --split official"):
        apart.check_apart()
    with pytest.raises(UserError, match=r"no list of a split in"):
        NihSource(root, PublicConfig(split_lists=root))
    (tmp_path / "lists/test.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"test.txt is not UTF-8 text"):
        NihSource(root, PublicConfig(split_lists=tmp_path / "lists"))


def test_an_unknown_split_or_data_set(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nih has no split 'oficial'. Did you mean 'official'"):
        NihSource(tmp_path, PublicConfig(split="oficial"))
    with pytest.raises(UserError, match=r"no such public data set: chexpret. Did you mean 'chexpert'"):
        open_public("chexpret", tmp_path)


def test_a_pickled_source_is_small_and_reads_on(tmp_path: Path) -> None:
    source = NihSource(nih(tmp_path))
    study = next(iter(source))
    data = pickle.dumps(source)
    assert b"00000006" not in data
    copy = pickle.loads(data)
    assert (copy.read(study, 0).pixels == source.read(study, 0).pixels).all()
    assert copy.settings() == source.settings()
    (tmp_path / study.images[0].path).unlink()
    with pytest.raises(UnreadableImage, match=r"no such file"):
        copy.read(study, 0)


def test_settings_change_with_tables_and_split(tmp_path: Path) -> None:
    root = nih(tmp_path)
    before = NihSource(root).settings()
    assert NihSource(root, PublicConfig(split="published")).settings() != before
    table = root / "Data_Entry_2017_v2020.csv"
    write_text(table, table.read_text().replace("Hernia", "Edema"))
    assert NihSource(root).settings() != before


@pytest.mark.parametrize("name", PUBLIC)
def test_every_source_says_where_it_comes_from_and_offers_a_split_by_patient(name: str) -> None:
    source = public_class(name)
    assert source.name == name
    assert source.citation
    assert source.licence
    assert not next(iter(source.rules.values())).leak
    for rule in source.rules.values():
        assert rule.source
        assert rule.instead or not rule.leak
        assert not rule.instead or not source.rules[rule.instead].leak


def test_numbers_and_boxes_of_cells() -> None:
    assert [number(cell) for cell in ("1.5", "", "nan", "inf", "x")] == [1.5, None, None, None, None]
    row = {"a": "1", "b": "2", "c": "3", "d": "4"}
    assert box_of(row, ("a", "b", "c", "d")) == (1, 2, 4, 6)
    assert box_of(row, ("a", "b", "c", "d"), corners=True) == (1, 2, 3, 4)
    assert box_of({**row, "d": ""}, ("a", "b", "c", "d")) is None


def test_ct_volumes_of_a_set_of_radiographs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["data", "prepare", "nih", "--root", str(tmp_path), "--store", str(tmp_path / "s"), "--projection", "ct"]
    with pytest.raises(SystemExit) as end:
        main(asked)
    assert end.value.code == 2
    assert "nih holds radiographs, no CT volumes. Leave out --projection ct." in capsys.readouterr().err
