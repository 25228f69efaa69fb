from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ct_volumes import chest
from miniatures import write_text
from volume_miniatures import SHAPE, ct_rate, prepared_volumes

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.readers import UnreadableImage
from lingula.data.sources.ct_rate import CtRateConfig, CtRateSource
from lingula.data.sources.ct_rate_tables import BROKEN, CtRateScan, colipri_scans, listed_scans, scans_of
from lingula.data.split_audit import audit
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.volume_store import VolumeStore

ALLOW = CtRateConfig(allow_missing=True)


@pytest.mark.parametrize("release", ["v1", "v2"])
def test_both_releases_hold_the_same_hounsfield_units_and_voxel_sizes(tmp_path: Path, release: str) -> None:
    source = CtRateSource(ct_rate(tmp_path / "data", release))
    assert source.settings()["release"] == release
    assert source.notes[0].startswith(f"Read as {release}")
    store = prepared_volumes(source, tmp_path / "store", hu_range=None)
    assert (len(store), store.about["quarantined"]) == (10, 0)
    for row in range(len(store)):
        reconstruction = 1 + row % 2
        patient = int(store.column("patient_id")[row].split("_")[1])
        voxels = chest(SHAPE, seed=10 * patient + reconstruction)
        stored = voxels if release == "v1" else voxels[::-1, ::-1]  # v1's header says RAS, v2's LPS
        np.testing.assert_array_equal(store.volume(row).voxels, stored)
        in_plane = (0.5, 0.4)[row % 2]
        assert store.spacing(row) == pytest.approx((in_plane, in_plane, 1.5))
    first = store.column("study_id").index("train_2_a")
    assert dict(store.column("sections")[first]) == {
        "technique": "Non-contrast.",
        "findings": "Findings 2.",
        "impression": '"Impression of train_2_a."',
    }
    labels = dict(zip(store.findings, store.labels([first], store.findings)[0], strict=True))
    assert {name: int(value) for name, value in labels.items()} == {name: int(n == 2) for n, name in enumerate(CT_FINDINGS)}


@pytest.mark.parametrize(("files", "told"), [("v2", "v1"), ("v1", "v2")])
def test_a_release_told_wrongly_is_found_out(tmp_path: Path, files: str, told: str) -> None:
    source = CtRateSource(ct_rate(tmp_path / "data", files, 1, 1), CtRateConfig(release=told))
    summary = prepare(source, tmp_path / "store", PrepareVolumesConfig(), workers=1)
    assert (summary.counts["all"]["images"], summary.quarantined) == (0, 4)
    assert all("no Hounsfield units of a chest" in reason for reason in summary.reasons)


def test_splits_are_by_patient_and_valid_is_test(tmp_path: Path) -> None:
    root = ct_rate(tmp_path, train=20, valid=3)
    source = CtRateSource(root)
    splits = {study.study_id: study.split for study in source}
    assert {name for name, split in splits.items() if split == "test"} == {"valid_1_a", "valid_2_a", "valid_3_a"}
    assert sum(split == "val" for split in splits.values()) == 2  # a tenth of 40 volumes, two a patient
    published = CtRateSource(root, CtRateConfig(split="published"))
    assert {study.split for study in published} == {"train", "test"}
    found = audit(source)
    assert found.counts["test"] == {"images": 6, "frontal": 6, "studies": 3, "patients": 3}
    assert not found.patients


def test_colipri_takes_the_finest_reconstruction_and_drops_repeated_findings(tmp_path: Path) -> None:
    source = CtRateSource(ct_rate(tmp_path, train=3, valid=3), CtRateConfig(split="colipri"))
    names = {study.study_id: [Path(image.path).name for image in study.images] for study in source}
    assert names == {f"{part}_{n}_a": [f"{part}_{n}_a_2.nii.gz"] for part in ("train", "valid") for n in (1, 2)}
    assert source.skipped["scan whose findings repeat another one's"] == 2
    assert source.skipped["reconstruction with larger voxels than another one of its scan"] == 6


def test_colipri_takes_the_first_of_equal_ones_and_the_unknown_last() -> None:
    sizes = {"valid_1_a_1": "", "valid_1_a_2": "[0.6, 0.6]", "valid_1_a_3": "[0.6,0.6]"}
    scan = CtRateScan("valid_1_a", "valid_1", "valid", {"Findings_EN": "x"}, volumes=list(sizes))
    metadata = {name: {"XYSpacing": size} for name, size in sizes.items()}
    (kept,) = colipri_scans([scan], metadata, Counter())
    assert kept.volumes == ["valid_1_a_2"]


def test_broken_reconstructions_are_left_out() -> None:
    skip = Counter[str]()
    names = sorted({*BROKEN, "train_1267_a_10", "train_1267_a_3"})
    scans = scans_of([{"VolumeName": f"{name}.nii.gz", "Findings_EN": "x"} for name in names], "train", skip)
    assert skip == {"volume that is known to be broken": 9}
    assert [(scan.name, scan.patient, scan.volumes) for scan in scans] == [
        ("train_1267_a", "train_1267", ["train_1267_a_3", "train_1267_a_10"])
    ]


def test_scans_without_a_chest_go_when_asked(tmp_path: Path) -> None:
    root = ct_rate(tmp_path)
    source = CtRateSource(root, CtRateConfig(chest_only=True))
    assert {study.study_id for study in source} == {"train_1_a", "train_3_a", "valid_1_a"}
    assert source.skipped["scan without a chest, by no_chest list"] == 2
    names = root / "dataset/metadata/no_chest_train.txt"
    write_text(Path(f"{names}.gz"), names.read_text())
    names.unlink()
    assert list(CtRateSource(root, CtRateConfig(chest_only=True))) == list(source)
    (root / "dataset/metadata/no_chest_valid.txt").unlink()
    assert len(CtRateSource(root)) == 5
    with pytest.raises(UserError, match=r"no no_chest_valid.txt"):
        CtRateSource(root, CtRateConfig(chest_only=True))
    assert listed_scans(["valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz\n", "train_2_b", "", "train_3_aa_1"]) == {
        *("valid_1_a", "train_2_b", "train_3_aa")
    }


def test_one_split_alone_and_tables_without_findings(tmp_path: Path) -> None:
    root = ct_rate(tmp_path)
    (root / "dataset/radiology_text_reports/train_reports.csv").unlink()
    (root / "dataset/multi_abnormality_labels/valid_predicted_labels.csv").unlink()
    source = CtRateSource(root)
    assert [(study.study_id, study.labels) for study in source] == [("valid_1_a", {}), ("valid_2_a", {})]
    assert source.skipped["split without its table (train_reports.csv)"] == 1
    assert source.skipped["table of findings (valid_predicted_labels.csv) that is not there"] == 1
    assert source.skipped["image file without a row in the tables"] == 6
    (root / "dataset/radiology_text_reports/validation_reports.csv").unlink()
    with pytest.raises(UserError, match=r"no train_reports.csv or validation_reports.csv"):
        CtRateSource(root)


def test_missing_volumes_strange_names_and_strange_findings(tmp_path: Path) -> None:
    root = ct_rate(tmp_path)
    (root / "dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_2.nii.gz").unlink()
    with pytest.raises(
        UserError, match=r"1 of 10 images of ct-rate are missing .*dataset/valid_fixed/valid_1/valid_1_a/valid_1_a_2"
    ):
        CtRateSource(root)
    assert [len(study.images) for study in CtRateSource(root, ALLOW)] == [2, 2, 2, 1, 2]
    labels = root / "dataset/multi_abnormality_labels/valid_predicted_labels.csv"
    text = labels.read_text()
    write_text(labels, text.replace("valid_1_a_1.nii.gz,0", "valid_1_a_1.nii.gz,2"))
    with pytest.raises(UserError, match=r"Medical material is '2', not 0 or 1"):
        CtRateSource(root, ALLOW)
    write_text(labels, text)
    reports = root / "dataset/radiology_text_reports/train_reports.csv"
    write_text(reports, reports.read_text().replace("train_1_a_1", "train_1"))
    with pytest.raises(UserError, match=r"VolumeName 'train_1.nii.gz' is none of CT-RATE's train split"):
        CtRateSource(root, ALLOW)


def test_both_releases_side_by_side(tmp_path: Path) -> None:
    root = ct_rate(ct_rate(tmp_path, "v1"), "v2")
    for release, folder in (("", "valid_fixed"), ("v1", "valid"), ("v2", "valid_fixed")):
        source = CtRateSource(root, CtRateConfig(release=release))
        paths = [image.path for study in source for image in study.images if study.split == "test"]
        assert {path.split("/")[1] for path in paths} == {folder}
        assert source.skipped["image file without a row in the tables"] == 10


def test_a_part_for_a_worker_knows_its_own_metadata_only(tmp_path: Path) -> None:
    source = CtRateSource(ct_rate(tmp_path, "v1"))
    study, other = list(source)[:2]
    data = pickle.dumps(source.part([study]))
    assert b"train_2" not in data
    copy = pickle.loads(data)
    np.testing.assert_array_equal(copy.read(study, 1).volume.voxels, source.read(study, 1).volume.voxels)
    assert copy.settings() == source.settings()
    with pytest.raises(UnreadableImage, match=r"table of metadata has no row"):
        copy.read(other, 0)


def test_the_command_needs_no_projection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "prepare", "ct-rate", "--root", str(ct_rate(tmp_path / "data")), "--store", str(tmp_path / "s")]
    main([*words, "--split", "colipri", "--chest-only", "--workers", "1", "--spacing", "2"])
    out = capsys.readouterr().out
    assert "2 images, 2 images with text, 2 studies, 2 patients" in out
    assert "known: Read as v2" in out
    assert VolumeStore.open(tmp_path / "s").spacing(0) == (2, 2, 2)
    with pytest.raises(SystemExit) as left:
        main(["data", "audit", "ct-rate", "--root", str(tmp_path / "data"), "--split", "published"])
    assert left.value.code == 0
    assert "published are 47,149 / 0 / 3,039 images" in capsys.readouterr().out


def test_an_audit_of_one_release_without_the_scans_of_no_chest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ct_rate(ct_rate(tmp_path, "v1"), "v2")
    words = ["data", "audit", "ct-rate", "--root", str(root), "--split", "published"]
    for own, told, images in ((["--release", "v1"], "Read as v1", 6), (["--chest-only"], "Read as v2", 4)):
        with pytest.raises(SystemExit) as left:
            main([*words, *own])
        out = capsys.readouterr().out
        assert left.value.code == 0
        assert f"known: {told}" in out
        assert out.splitlines()[1].split()[:2] == ["train", f"{images}"]
    with pytest.raises(SystemExit) as left:
        main(["data", "audit", "nlst", "--root", str(root), "--chest-only"])
    assert left.value.code == 2


def test_split_lists_name_volumes_with_or_without_their_ending(tmp_path: Path) -> None:
    write_text(tmp_path / "lists/train.txt", "train_1_a_2\ntrain_2_a_1.nii.gz\n")
    write_text(tmp_path / "lists/test.txt", "valid_fixed/valid_1_a_1.nii.gz\nvalid_2_a\n")
    source = CtRateSource(ct_rate(tmp_path / "data"), CtRateConfig(split_lists=tmp_path / "lists"))
    splits = {study.study_id: study.split for study in source}
    assert splits == {"train_1_a": "train", "train_2_a": "train", "valid_1_a": "test", "valid_2_a": "test"}
