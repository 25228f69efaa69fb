from __future__ import annotations

import hashlib
import hmac
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import dicom, write_dicom

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.identifiers import Pseudonyms
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store

MakeTable = Callable[..., Path]
SMALL = PrepareConfig(size=16, shard_studies=4)
SALT = b"sixteen bytes or more"
SECRETS = ("DOE-JANE", "ACC-77")


@pytest.fixture
def patients(make_table: MakeTable) -> Path:
    """Twenty images of ten patients whose ids must not be told; the last image is broken and two are the same."""
    rows: list[dict[str, Any]] = [
        {"image": f"{n:02d}.png", "study_id": f"ACC-77{n:02d}", "patient_id": f"DOE-JANE-{n // 2}", "labels": "Nodule"}
        for n in range(20)
    ]
    table = make_table(rows)
    (table.parent / "19.png").write_text("not an image")
    (table.parent / "01.png").write_bytes((table.parent / "00.png").read_bytes())
    return table


def _hashes(store: Path) -> dict[str, str]:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    return {str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _told(store: Path) -> str:
    """Everything that the files of a store say, pixels apart."""
    opened = Store.open(store)
    rows = [opened.table.drop_columns("regions").to_pylist(), opened.quarantine.to_pylist()]
    return json.dumps(rows, default=str) + "".join(file.read_text() for file in store.rglob("*.json"))


def test_a_hash_is_the_hmac_of_rfc_2104_under_the_salt() -> None:
    expected = hmac.digest(SALT, b"patient\0p1", "sha256").hex()[:16]
    assert Pseudonyms(SALT).patient("p1") == expected != Pseudonyms(SALT).study("p1")
    assert Pseudonyms(SALT + b"!").patient("p1") != expected
    with pytest.raises(UserError, match=r"a salt of 5 bytes is too short"):
        Pseudonyms(b"short")


def test_the_commands_tell_no_identifier_unless_asked(patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, kept = tmp_path / "store", tmp_path / "kept"
    words = ["data", "prepare", "csv", "--table", str(patients), "--size", "16", "--workers", "1"]
    main([*words, "--store", str(store)])
    main(["data", "describe", str(store)])
    with pytest.raises(SystemExit):
        main(["data", "verify", str(store)])
    out = capsys.readouterr().out
    assert "not a PNG" in out
    assert "1 images repeat another one" in out
    assert not [secret for secret in SECRETS if secret in out + _told(store)]
    main([*words, "--store", str(kept), "--keep-identifiers"])
    assert all(secret in _told(kept) for secret in SECRETS)
    assert not (kept / "salt").exists()


def test_images_whose_paths_name_the_patient_are_not_printed(
    make_table: MakeTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_table([{"image": f"DOE-JANE/{n}.png"} for n in range(4)])
    files = sorted((table.parent / "DOE-JANE").iterdir())
    files[1].write_bytes(files[0].read_bytes())
    files[3].write_text("not an image")
    main(["data", "prepare", "csv", "--table", str(table), "--store", str(tmp_path / "s"), "--size", "16", "--workers", "1"])
    main(["data", "describe", str(tmp_path / "s")])
    with pytest.raises(SystemExit):
        main(["data", "verify", str(tmp_path / "s")])
    out = capsys.readouterr().out
    assert "repeat another one" in out
    assert "DOE-JANE" not in out
    store = Store.open(tmp_path / "s")
    assert "DOE-JANE" not in json.dumps([store.column(name) for name in ("row_id", "study_id", "patient_id")])
    assert store.column("path")[0] == "DOE-JANE/0.png"


def test_patients_keep_their_split_and_their_company(patients: Path, tmp_path: Path) -> None:
    plain = Store.open(prepare(CsvSource(patients), tmp_path / "a", SMALL, workers=1).store)
    hashed = Store.open(prepare(CsvSource(patients), tmp_path / "b", SMALL, workers=1, hash_identifiers=True).store)
    assert hashed.column("split") == plain.column("split")
    assert len(set(plain.column("split"))) > 1
    for name in ("study_id", "patient_id"):
        pairs = set(zip(plain.column(name), hashed.column(name), strict=True))
        assert len(pairs) == len(set(plain.column(name))) == len(set(hashed.column(name)))


def test_one_salt_gives_one_store_whoever_writes_it(patients: Path, tmp_path: Path) -> None:
    one, two = (
        prepare(CsvSource(patients), tmp_path / str(n), SMALL, workers=n, hash_identifiers=True, salt=SALT).store for n in (1, 2)
    )
    assert _hashes(one) == _hashes(two)
    other = prepare(CsvSource(patients), tmp_path / "other", SMALL, workers=1, hash_identifiers=True).store
    assert not set(Store.open(one).column("study_id")) & set(Store.open(other).column("study_id"))


def test_an_interrupted_store_goes_on_with_its_salt(patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    whole = CsvSource.read

    def cut(source: CsvSource, study: Any, image_index: int) -> Any:
        if study.study_id == "ACC-7709":
            raise RuntimeError("power cut")
        return whole(source, study, image_index)

    with monkeypatch.context() as broken:
        broken.setattr(CsvSource, "read", cut)
        with pytest.raises(RuntimeError, match="power cut"):
            prepare(CsvSource(patients), store, SMALL, workers=1, hash_identifiers=True)
    salt = (store / "salt").read_bytes().strip()
    assert stat.S_IMODE((store / "salt").stat().st_mode) == 0o600
    summary = prepare(CsvSource(patients), store, SMALL, workers=1, hash_identifiers=True)
    assert (summary.shards_kept, summary.shards_written) == (2, 3)
    again = prepare(CsvSource(patients), tmp_path / "again", SMALL, workers=1, hash_identifiers=True, salt=salt)
    assert _hashes(store) == _hashes(again.store)
    assert salt.decode() not in _told(store)


def test_a_replacement_takes_the_salt_over(patients: Path, tmp_path: Path) -> None:
    store = prepare(CsvSource(patients), tmp_path / "store", SMALL, workers=1, hash_identifiers=True).store
    names = Store.open(store).column("patient_id")
    larger = PrepareConfig(size=24, shard_studies=4)
    prepare(CsvSource(patients), store, larger, workers=1, hash_identifiers=True, overwrite=True)
    assert Store.open(store).size == 24
    assert Store.open(store).column("patient_id") == names


def test_another_salt_a_lost_salt_and_another_choice_are_refused(patients: Path, tmp_path: Path) -> None:
    def again(**choice: Any) -> None:
        prepare(CsvSource(patients), tmp_path / "store", SMALL, workers=1, **choice)

    again(hash_identifiers=True, salt=SALT)
    before = _hashes(tmp_path / "store")
    with pytest.raises(UserError, match="prepared with another salt"):
        again(hash_identifiers=True, salt=SALT + b"!")
    with pytest.raises(UserError, match=r"prepared differently \(identifiers: 'hashed' instead of nothing\)"):
        again()
    assert _hashes(tmp_path / "store") == before
    (tmp_path / "store" / "salt").unlink()
    with pytest.raises(UserError, match="has lost its salt"):
        again(hash_identifiers=True)
    again(hash_identifiers=True, salt=SALT)
    assert _hashes(tmp_path / "store") == before


def test_a_salt_without_anything_to_hash_is_a_mistake(patients: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a salt is for hash_identifiers=True"):
        prepare(CsvSource(patients), tmp_path / "store", SMALL, workers=1, salt=SALT)
    assert not (tmp_path / "store").exists()


def test_headers_of_dicom_files_are_not_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Names, numbers and dates of the header, also where pydicom's own message on a damaged value would quote it."""
    root, pixels = tmp_path / "archive", np.random.default_rng(0).integers(0, 4096, (20, 20), dtype=np.uint16)
    secret = {"PatientName": "DOE^JANE", "PatientID": "DOE-JANE", "AccessionNumber": "ACC-77", "PatientBirthDate": "19770708"}
    told = {"StudyDate": "20200102", "InstitutionName": "DOE-JANE CLINIC", "StudyInstanceUID": "1.77.1"}
    for number in range(6):
        write_dicom(root / f"DOE-JANE-{number}.dcm", pixels + number, SOPInstanceUID=f"1.77.1.{number}", **secret, **told)
    whole = (root / "DOE-JANE-3.dcm").read_bytes()
    (root / "DOE-JANE-3.dcm").write_bytes(whole[:-300])
    (root / "DOE-JANE-4.dcm").write_bytes(whole.replace(b"DOE-JANE CLINIC", b"DOE-JANE \xff\xfe\x00\x01IC"))
    broken = dicom(pixels, SOPInstanceUID="1.77.1.9", **secret, **told)
    broken.add_new("WindowCenter", "LO", "DOE-JANE")
    broken.add_new("WindowWidth", "LO", "ACC-77")
    broken.save_as(root / "DOE-JANE-5.dcm", enforce_file_format=True)
    table = tmp_path / "reports.csv"
    table.write_text("Accession Number,study_instance_uid,findings\nACC-77,1.77.1,Clear.\n")
    words = ["--root", str(root), "--table", str(table), "--store", str(tmp_path / "s"), "--size", "16", "--workers", "1"]
    main(["data", "prepare", "dicom", *words])
    main(["data", "describe", str(tmp_path / "s")])
    with pytest.raises(SystemExit):
        main(["data", "verify", str(tmp_path / "s")])
    out, err = capfd.readouterr()
    assert "file is truncated" in out
    store = Store.open(tmp_path / "s")
    columns = [name for name in store.table.column_names if name not in ("path", "regions")]
    reasons = store.quarantine.column("reason").to_pylist()
    everything = out + err + json.dumps([store.column(name) for name in columns], default=str) + json.dumps(reasons)
    assert len(reasons) >= 2
    assert "Clear." in everything
    hidden = ("DOE", "JANE", "ACC-77", "19770708", "20200102", "1.77.1")
    said = everything.replace(str(root), "")
    assert [said[said.index(word) - 60 :][:100] for word in hidden if word in said] == []
