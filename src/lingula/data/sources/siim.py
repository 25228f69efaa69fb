"""SIIM-ACR Pneumothorax Segmentation: 12,047 radiographs, masks as run lengths, 22 % with a pneumothorax.

Citation: SIIM-ACR Pneumothorax Segmentation Challenge, Society for Imaging Informatics in Medicine, Kaggle 2019.
Licence: rules of the challenge (images of ChestX-ray14).
Download: https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation: train-rle.csv (or stage_2_train.csv of the second stage)
and dicom-images-train/, where every image lies below two folders of its own.

Quirks: the header reads `ImageId, EncodedPixels` with a blank, a healthy image has ` -1` (or `-1`); several rows of one image
are parts of one mask; runs are relative to the end of the last one, down the columns of 1024 × 1024 pixels. Sex, age and view
stand in the DICOM headers only, and are read from there with the pixels; patients are not told, every image is a patient of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lingula.core.types import RegionMask
from lingula.data.run_length import NO_MASK, decode_rle
from lingula.data.sources.csv_regions import RLE, TO_BE_MEASURED
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import distinct
from lingula.data.split_rules import SplitRule, drawn
from lingula.data.study import ImageReference, Region, Study

PNEUMOTHORAX = "Pneumothorax"
PIXELS = "EncodedPixels"
SIDE = 1024
"""Side of the square that runs are counted in."""


class SiimSource(PublicSource):
    """The challenge's training images."""

    name = "siim"
    citation = "SIIM-ACR Pneumothorax Segmentation Challenge, 2019"
    licence = "rules of the SIIM-ACR challenge"
    rules: Mapping[str, SplitRule] = {
        "image": SplitRule(
            "70/15/15 by image, random_state 0, with the sizes of the papers' tables",
            drawn(2 * 1807, seed=0),
            "G2D (arXiv 2312.01522) Table 6: 8,433 / 1,807 / 1,807 of 12,047 images; the draw is ours",
            sizes=(8_433, 1_807, 1_807),
        ),
        "mgca": SplitRule(
            "as MGCA's code draws it",
            None,
            "MGCA mgca/preprocess/siim.py",
            leak="it splits rows of run lengths, not images: of the table of 12,954 rows, 154 images are in train and test, "
            "161 in train and val, 62 in val and test",
            instead="image",
        ),
    }
    notes = (
        "MGCA trains on all positives and as many negatives drawn at random; here all images of train are learned from.",
        "BenchX's lists name images of another packaging (NNN_train_L_.png), not of this one.",
    )
    headers = True
    _heavy = ("_runs",)

    def _open(self) -> None:
        _, table = self._table("train-rle.csv", "stage_2_train.csv", "*train-rle.csv", need=("ImageId", PIXELS))
        self._runs: dict[str, list[str]] = {}
        for row in distinct(table.rows, self.skipped):
            runs = self._runs.setdefault(row["ImageId"], [])
            if row[PIXELS].strip() not in NO_MASK:
                runs.append(row[PIXELS].strip())

    def _studies(self) -> Iterator[Study]:
        for name, runs in self._runs.items():
            path = self.folder.named(f"{name}.dcm") or self.folder.named(f"{name}.png") or f"{name}.dcm"
            yield Study(
                study_id=name,
                patient_id=name,
                images=[ImageReference(path=path)],
                labels={PNEUMOTHORAX: int(bool(runs))},
                regions=[Region(finding=PNEUMOTHORAX, kind="pathology", box=TO_BE_MEASURED, mask=RLE + run) for run in runs],
                licence=self.licence,
            )

    def _draw(self, mask: str, height: int, width: int) -> RegionMask:
        if (height, width) != (SIDE, SIDE):
            raise ValueError(f"its runs are counted in {SIDE} × {SIDE} pixels, the image has {height} × {width}")
        return decode_rle(mask.removeprefix(RLE), height, width, "relative")
