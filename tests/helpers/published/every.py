"""Every public data set of the catalogue as a miniature, and what its tables would look like in another version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from miniatures import nih, rsna, write_text
from volume_miniatures import ct_rate, nnunet, rad_chestct

from lingula.data.sources.public import PublicConfig
from published import (
    bimcv_r,
    chexpert,
    covidx,
    indiana,
    merlin,
    mimic_cxr,
    ms_cxr,
    nlst,
    object_cxr,
    padchest,
    siim,
    tbx11k,
    vindr,
)


@dataclass(frozen=True)
class Published:
    """How to write a miniature, and what in its tables names the columns.

    Args:
        write: Writes it into a folder that exists.
        renamed: Tables by path, with a name in each that the data set has, so that another name is another version; a table of
            lists or JSON counts too.
        config: From the root, how it is split: by a rule that fits so few images.
        lists: Text files without column names.
        listed: Whether tables list the images, so that a file can be one too many.
        repeats: Whether a row may come twice in its tables.
        series: Whether an image is a folder of slices, called by the first one; one too many is then a copy of another.
    """

    write: Callable[[Path], Path]
    renamed: dict[str, str] = field(default_factory=dict)
    config: Callable[[Path], PublicConfig] = lambda root: PublicConfig()
    lists: tuple[str, ...] = ()
    listed: bool = True
    repeats: bool = True
    series: bool = False


def _siim(root: Path) -> Path:
    for place, split in enumerate(("train", "val", "test")):
        write_text(root / f"lists/{split}.txt", "\n".join(f"{siim.UID}.{number}.1" for number in range(2 * place, 2 * place + 2)))
    return siim.mini(root, side=8)


def _rule(name: str) -> Callable[[Path], PublicConfig]:
    return lambda root: PublicConfig(split=name)


def _mimic(root: Path) -> Path:
    return mimic_cxr.write_reports(mimic_cxr.mini(root))


def _ms_cxr(root: Path) -> Path:
    return ms_cxr.write_pictures(ms_cxr.write_table(root))


def _merlin(root: Path) -> Path:
    return merlin.mini(root, reports="reports_final.csv")


_MIMIC = {f"mimic-cxr-2.0.0-{table}.csv.gz": name for table, name in {"metadata": "ViewPosition", "split": ",split"}.items()}
_MIMIC["mimic-cxr-2.0.0-chexpert.csv.gz"] = "Cardiomegaly"
_VOLUME = "VolumeName"

EVERY: dict[str, Published] = {
    "mimic-cxr-jpg": Published(_mimic, _MIMIC),
    "mimic-cxr": Published(mimic_cxr.dicom, {**_MIMIC, "cxr-record-list.csv.gz": "path"}),
    "chexpert": Published(chexpert.mini, {"train.csv": "Path", "valid.csv": "Pleural Effusion"}),
    "indiana": Published(indiana.mini),
    "nih": Published(
        nih, {"Data_Entry_2017_v2020.csv": "Finding Labels", "BBox_List_2017.csv": "Bbox [x"}, lists=("test_list.txt",)
    ),
    "rsna": Published(
        rsna, {"stage_2_train_labels.csv": "Target", "stage_2_detailed_class_info.csv": "class"}, _rule("mgca-code")
    ),
    "siim": Published(_siim, {"train-rle.csv": "EncodedPixels"}, lambda root: PublicConfig(split_lists=root / "lists")),
    "covidx": Published(covidx.mini, {"train_COVIDx9A.txt": " normal ", "test_COVIDx9A.txt": "COVID-19"}),
    "object-cxr": Published(
        object_cxr.mini,
        {"train.csv": "annotation", "dev.csv": "image_name", "test.csv": "image_path"},
        _rule("official"),
    ),
    "vindr-cxr": Published(
        vindr.mini,
        {
            **{f"annotations/annotations_{split}.csv": "x_min" for split in ("train", "test")},
            **{f"annotations/image_labels_{split}.csv": "No finding" for split in ("train", "test")},
        },
        _rule("tenth"),
    ),
    "padchest": Published(padchest.mini, {"PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz": "StudyID"}),
    "ms-cxr": Published(_ms_cxr, {"MS_CXR_Local_Alignment_v1.0.0.csv": "label_text"}),
    "tbx11k": Published(
        tbx11k.mini, {f"annotations/json/TBX11K_{split}.json": '"categories"' for split in ("train", "val")}, repeats=False
    ),
    "ct-rate": Published(
        ct_rate,
        {
            "dataset/radiology_text_reports/train_reports.csv": "Findings_EN",
            "dataset/metadata/validation_metadata.csv": "RescaleSlope",
            "dataset/multi_abnormality_labels/valid_predicted_labels.csv": "Cardiomegaly",
        },
    ),
    "rad-chestct": Published(
        rad_chestct,
        {
            "CT_Scan_Metadata_Complete_35747.csv": "MRN_DEID",
            "imgtrain_Abnormality_and_Location_Labels.csv": "NoteAcc_DEID",
            "imgtest_Abnormality_and_Location_Labels.csv": "NoteAcc_DEID",
        },
    ),
    "nlst": Published(
        nlst.mini,
        {
            "manifest-1/metadata.csv": "Series UID",
            "nlst_780_prsn_idc_20210527.csv": "canc_free_days",
            "nlst_780_ctab_idc_20210527.csv": "sct_ab_desc",
        },
        series=True,
    ),
    "bimcv-r": Published(bimcv_r.mini, {"meta/BIMCV_meta.csv": "Report_en"}),
    "merlin": Published(
        _merlin, {"reports_final.csv": "Split", "zero_shot_findings_disease_cls.csv": "renal_cyst", "metadata.csv": "study id"}
    ),
    "nnunet": Published(nnunet, {"dataset.json": '"channel_names"'}, listed=False, repeats=False),
}
"""A data set of the catalogue that is missing here fails the tests of bad input: give it a miniature."""
