from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lingula.core.errors import UserError
from lingula.data.sources import shard_files
from lingula.data.sources.cells import obvious_columns, text_of
from lingula.data.sources.container_config import ContainerConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.shard_files import find_shards, split_in_name


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/train-00000-of-00002-0a1b2c3d.parquet", "train"),
        ("cxr_valid.0001.tar", "val"),
        ("dev/0001.tar", "val"),
        ("Test000.tar", "test"),
        ("evaluation/part 7.tar", "test"),
        ("train/test-00.tar", "test"),
        ("train_test.tar", None),
        ("pretraining/testament.tar", None),
        ("0001.tar", None),
    ],
)
def test_splits_are_words_of_names_the_files_before_its_folders(name: str, split: str | None) -> None:
    assert split_in_name(name) == split


def test_braces_count_and_choose_and_stars_match(tmp_path: Path) -> None:
    for name in ("a-08.tar", "a-09.tar", "a-10.tar", "b-08.tar", "sub/a-11.tar", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "._a-08.tar").write_bytes(b"")

    def found(pattern: str) -> list[str]:
        return find_shards(tmp_path, ContainerConfig(shards=pattern), (".tar",)).names

    assert found("") == ["a-08.tar", "a-09.tar", "a-10.tar", "b-08.tar", "sub/a-11.tar"]
    assert found("a-{08..10}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert found("{a,b}-08.tar") == ["a-08.tar", "b-08.tar"]
    assert found("sub/*.tar") == ["sub/a-11.tar"]
    (tmp_path / "c\n.tar").write_bytes(b"")
    with pytest.raises(UserError, match=r"the name of a shard below .* is no text \('c\\n.tar'\)"):
        found("")


def test_a_file_as_root_and_folders_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tmp_path / "a.tar"
    shard.write_bytes(b"")
    assert find_shards(shard, ContainerConfig(), (".tar",)).names == ["a.tar"]
    with pytest.raises(UserError, match=r"--shards chooses among the files of a folder"):
        find_shards(shard, ContainerConfig(shards="*.tar"), (".tar",))

    def listed(root: Path, on_error: Callable[[OSError], None]) -> Iterator[str]:
        on_error(PermissionError("sub"))
        yield "a.tar"

    monkeypatch.setattr(shard_files, "files_below", listed)
    assert find_shards(tmp_path, ContainerConfig(), (".tar",)).unlisted == 1


def test_old_shards_with_a_hash_in_their_name_count_too(tmp_path: Path) -> None:
    (tmp_path / "train-00000-of-00003-0a1b.parquet").write_bytes(b"")
    shards = find_shards(tmp_path, ContainerConfig(allow_missing=True), (".parquet",))
    assert shards.missing == ["train-00001-of-00003.parquet", "train-00002-of-00003.parquet"]


def test_cells_are_text_and_what_is_missing_is_blank() -> None:
    values = [None, float("nan"), 54.0, 0.5, True, 12345678901234567, [1, None, "b "], {"b": 1, "a": None}, " x "]
    assert [text_of(value) for value in values] == [
        *("", "", "54", "0.5", "true", "12345678901234567", "1; b", '{"a": null, "b": 1}', "x")
    ]
    assert [text_of(value, ("No", "Yes")) for value in (1, -1, 2, "0", [0, 1], "Yes")] == ["Yes", "", "2", "No", "No; Yes", "Yes"]


def test_what_was_named_stays_and_the_rest_is_found_by_its_obvious_name() -> None:
    columns = ["Caption", "note", "LABEL", "Subject ID", "Impression", "sex"]
    config = obvious_columns(CsvConfig(text_column="note"), columns)
    assert (config.text_column, config.labels_column, config.patient_id_column) == ("note", "LABEL", "Subject ID")
    assert (config.sex_column, config.view_column, config.report_column) == ("sex", "view", "report")
    assert config.section_columns == ("indication", "technique", "comparison", "findings", "Impression")
    assert obvious_columns(CsvConfig(labels_column="none"), columns).labels_column == "none"
