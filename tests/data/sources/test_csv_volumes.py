from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from ct_volumes import LAS, chest

from lingula.core.errors import UserError
from lingula.data.prepare import PrepareSummary, prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_volumes import CsvVolumeSource
from lingula.data.sources.sidecar_config import SidecarConfig
from lingula.data.volume_store import VolumeStore


def write_table(path: Path, rows: list[dict[str, Any]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def save(path: Path, values: np.ndarray, affine: np.ndarray | None = LAS) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def make_store(source: CsvVolumeSource, folder: Path, **options: Any) -> tuple[PrepareSummary, VolumeStore]:
    summary = prepare(source, folder / "store", PrepareVolumesConfig(**options), workers=1)
    return summary, VolumeStore.open(summary.store)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three volumes of two patients, one with a mask, one with a box."""
    for number in range(3):
        save(tmp_path / f"{number}.nii.gz", chest(seed=number))
    mask = np.zeros((40, 30, 24), np.uint8)
    mask[5:12, 6:14, 7:15] = 3
    save(tmp_path / "mask.nii.gz", mask)
    write_table(tmp_path / "masks.csv", [{"image": "0.nii.gz", "mask": "mask.nii.gz", "label": "nodule"}])
    box = dict(zip(("x1", "y1", "z1", "x2", "y2", "z2"), (5, 6, 7, 12, 14, 15), strict=True))
    write_table(tmp_path / "boxes.csv", [{"image": "1.nii.gz", "label": "mass", "phrase": "a mass", **box}])
    rows = [{"image": f"{n}.nii.gz", "patient_id": f"p{n // 2}", "text": f"Report {n}.", "labels": "nodule"} for n in range(3)]
    return write_table(tmp_path / "ct.csv", rows)


def test_volumes_masks_boxes_and_texts_come_into_the_store(three: Path, tmp_path: Path) -> None:
    summary, store = make_store(CsvVolumeSource(three), tmp_path)
    assert summary.counts["all"] == {"images": 3, "images_with_text": 3, "studies": 3, "patients": 2}
    assert summary.quarantined == 0
    assert store.column("modality") == ["ct"] * 3
    assert store.column("projection") == ["CT"] * 3
    np.testing.assert_array_equal(store.volume(2).voxels, chest(seed=2)[::-1])
    (nodule,), (mass,), none = (store.regions(row) for row in range(3))
    assert none == []
    assert nodule.box == mass.box == (40 - 12, 6, 7, 40 - 5, 14, 15)
    assert (nodule.has_mask, mass.has_mask, mass.phrase) == (True, False, "a mass")
    mask = store.mask(0, 0)
    assert mask is not None
    assert mask[28:35, 6:14, 7:15].all()
    assert mask.sum() == 7 * 8 * 8


def test_boxes_may_be_counted_from_zero(three: Path, tmp_path: Path) -> None:
    box = dict(zip(("x0", "y0", "z0", "x1", "y1", "z1"), (5, 6, 7, 12, 14, 15), strict=True))
    write_table(tmp_path / "boxes3d.csv", [{"image": "1.nii.gz", "label": "mass", **box}])
    source = CsvVolumeSource(three, config=CsvConfig(boxes_table="boxes3d.csv"))
    assert [study.regions[0].box for study in source if study.study_id == "1.nii.gz"] == [(5, 6, 7, 12, 14, 15)]
    write_table(tmp_path / "boxes3d.csv", [{"image": "1.nii.gz", "label": "mass", **box, "z1": "many"}])
    with pytest.raises(UserError, match=r"box of 1\.nii\.gz is not six numbers: 5, 6, 7, 12, 14, many"):
        list(CsvVolumeSource(three, config=CsvConfig(boxes_table="boxes3d.csv")))


def test_bad_files_are_quarantined_with_a_reason_that_names_no_path(tmp_path: Path) -> None:
    good = chest()
    nan = good.astype(np.float32)
    nan[3, 4, 5] = np.nan
    save(tmp_path / "good.nii.gz", good)
    save(tmp_path / "nan.nii.gz", nan)
    save(tmp_path / "four.nii.gz", np.stack([good, good], axis=-1))
    save(tmp_path / "two.nii.gz", good[..., :2])
    save(tmp_path / "nowhere.nii.gz", good, None)
    save(tmp_path / "never.nii.gz", good + 1024)
    flat = nibabel.Nifti1Image(good, LAS)
    flat.header["pixdim"][3] = 0
    (tmp_path / "flat.nii").write_bytes(flat.to_bytes())
    header = bytearray((tmp_path / "flat.nii").read_bytes())
    header[88:92] = np.float32(0).tobytes()
    (tmp_path / "flat.nii").write_bytes(bytes(header))
    (tmp_path / "short.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes()[:500])
    names = [
        "good.nii.gz",
        "nan.nii.gz",
        "four.nii.gz",
        "two.nii.gz",
        "nowhere.nii.gz",
        "never.nii.gz",
        "flat.nii",
        "short.nii.gz",
    ]
    table = write_table(tmp_path / "ct.csv", [{"image": name} for name in [*names, "gone.nii.gz", "../out.nii.gz"]])
    summary, store = make_store(CsvVolumeSource(table), tmp_path)
    assert store.column("path") == ["good.nii.gz"]
    reasons = dict(zip(*(store.quarantine.column(name).to_pylist() for name in ("path", "reason")), strict=True))
    assert summary.quarantined == 9
    for name, said in {
        "nan.nii.gz": "a volume with 1 of 28800 values that are no finite number",
        "four.nii.gz": "the file is no single volume of three axes (shape (40, 30, 24, 2))",
        "two.nii.gz": "40 x 30 x 2 voxels are too few",
        "nowhere.nii.gz": "the file says not how the patient lies in it (no affine",
        "never.nii.gz": "They fit after subtracting 1024: the intercept was not applied.",
        "flat.nii": "spacing",
        "short.nii.gz": "cannot read the file",
        "gone.nii.gz": "no such file",
        "../out.nii.gz": "path leaves the root folder",
    }.items():
        assert said in reasons[name], name
    assert not any(str(tmp_path) in reason for reason in reasons.values())


def test_bad_masks_are_problems_of_their_own(three: Path, tmp_path: Path) -> None:
    moved = LAS.copy()
    moved[0, 3] += 3
    save(tmp_path / "shifted.nii.gz", np.ones((40, 30, 24), np.uint8), moved)
    save(tmp_path / "small.nii.gz", np.ones((40, 30, 23), np.uint8))
    save(tmp_path / "empty.nii.gz", np.zeros((40, 30, 24), np.uint8))
    rows = [{"image": "0.nii.gz", "mask": f"{n}.nii.gz", "label": n} for n in ("shifted", "small", "empty", "gone", "mask")]
    write_table(tmp_path / "masks.csv", rows)
    _, store = make_store(CsvVolumeSource(three), tmp_path)
    assert [region.finding for region in store.regions(0)] == ["mask"]
    assert store.quarantine.to_pylist() == [
        {"study_id": "0.nii.gz", "path": f"{name}.nii.gz", "reason": f"mask: {reason}"}
        for name, reason in {
            "shifted": "a mask is not on the grid of its volume: a corner lies 3 mm away",
            "small": "a mask of (40, 30, 23) voxels is not on the grid of its volume of (40, 30, 24)",
            "empty": "it is empty",
            "gone": "no such file",
        }.items()
    ]


def test_a_sidecar_gives_slope_intercept_and_spacing(tmp_path: Path) -> None:
    """Stored values (HU + 1024) / 2 with a voxel size of 1 mm in the file, as some published volumes are."""
    hu = chest() // 2 * 2
    save(tmp_path / "a_1.nii.gz", ((hu + 1024) // 2).astype(np.int16), np.diag([-1.0, 1, 1, 1]))
    table = write_table(tmp_path / "ct.csv", [{"image": "a_1.nii.gz"}])
    row = {"VolumeName": "a_1.nii.gz", "RescaleSlope": 2, "RescaleIntercept": -1024, "XY": "[0.75, 0.75]", "Z": 1.5}
    write_table(tmp_path / "meta.csv", [row])
    config = SidecarConfig(
        sidecar="meta.csv",
        sidecar_image_column="VolumeName",
        slope_column="RescaleSlope",
        intercept_column="RescaleIntercept",
        spacing_columns=("XY", "Z"),
    )
    _, store = make_store(CsvVolumeSource(table, sidecar=config), tmp_path)
    np.testing.assert_array_equal(store.volume(0).voxels, hu[::-1])
    assert store.spacing(0) == pytest.approx((0.75, 0.75, 1.5))
    plain = prepare(CsvVolumeSource(table), tmp_path / "plain", PrepareVolumesConfig(), workers=1)
    assert "are no Hounsfield units of a chest" in next(iter(plain.reasons)), "without it the values are refused"


def test_a_sidecar_on_top_of_applied_values_is_found_out(tmp_path: Path) -> None:
    """The double rescale of CT-RATE's second version: the file is right, the table is applied once more."""
    save(tmp_path / "a_1.nii.gz", chest())
    table = write_table(tmp_path / "ct.csv", [{"image": "a_1.nii.gz"}])
    write_table(tmp_path / "meta.csv", [{"image": "a_1.nii.gz", "slope": 1, "intercept": -1024}])
    source = CsvVolumeSource(table, sidecar=SidecarConfig(sidecar="meta.csv", spacing_columns=("none",)))
    summary = prepare(source, tmp_path / "store", PrepareVolumesConfig(), workers=1)
    assert next(iter(summary.reasons)).endswith("They fit after adding 1024: the intercept was applied twice.")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image": "other.nii.gz", "slope": 1, "intercept": 0, "spacing": 1}, "the sidecar table has no row about it"),
        ({"image": "a_1.nii.gz", "slope": "", "intercept": 0, "spacing": 1}, "no number in column 'slope' (blank)"),
        ({"image": "a_1.nii.gz", "slope": 1, "intercept": "x", "spacing": 1}, "no number in column 'intercept' (x)"),
        ({"image": "a_1.nii.gz", "slope": 1, "intercept": 0, "spacing": ""}, "gives no voxel size of one to three positive"),
        ({"image": "a_1.nii.gz", "slope": 1, "intercept": 0, "spacing": "1 1 0"}, "gives no voxel size of one to three positive"),
    ],
)
def test_a_sidecar_with_holes_quarantines(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    save(tmp_path / "a_1.nii.gz", chest())
    table = write_table(tmp_path / "ct.csv", [{"image": "a_1.nii.gz"}])
    write_table(tmp_path / "meta.csv", [row])
    source = CsvVolumeSource(table, sidecar=SidecarConfig(sidecar="meta.csv"))
    assert reason in next(iter(prepare(source, tmp_path / "store", PrepareVolumesConfig(), workers=1).reasons))


def test_a_sidecar_that_contradicts_itself_or_lacks_a_column(three: Path, tmp_path: Path) -> None:
    rows = [{"image": "0.nii.gz", "slope": slope, "intercept": 0} for slope in (1, 2)]
    write_table(tmp_path / "meta.csv", rows)
    with pytest.raises(UserError, match=r"two different rows about '0\.nii\.gz'"):
        CsvVolumeSource(three, sidecar=SidecarConfig(sidecar="meta.csv", spacing_columns=()))
    with pytest.raises(UserError, match=r"no column 'spacing' \(of the sidecar table\)"):
        CsvVolumeSource(three, sidecar=SidecarConfig(sidecar="meta.csv"))
