"""RSNA Pneumonia Detection Challenge: 26,684 frontal radiographs of ChestX-ray14, read anew, with boxes of pneumonia.

Citation: Shih et al., "Augmenting the National Institutes of Health chest radiograph dataset with expert annotations of possible
pneumonia", Radiology: Artificial Intelligence 2019.
Licence: as ChestX-ray14 (no restrictions, attribution), under the rules of the challenge.
Download: https://www.kaggle.com/c/rsna-pneumonia-detection-challenge: stage_2_train_labels.csv, stage_2_detailed_class_info.csv,
stage_2_train_images/. The 3,000 images of stage_2_test_images have no labels and are left out.

Quirks: one row per box, so a patient with two boxes has two rows; boxes are x, y, width, height of 1024 × 1024 pixels; the class
table has a row per box too. `patientId` names an image: the mapping to the patients of ChestX-ray14 is not in these tables, so
images of one patient may fall into two splits, and all of them may be in ChestX-ray14's train_val. Sex, age and view stand in
the DICOM headers only, and are read from there with the pixels; copies as PNG have none. MGCA and G2D score filled boxes as
masks: `lingula evaluate … --segment.boxes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from lingula.core.errors import UserError
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import box_of, distinct
from lingula.data.sources.tables import Row
from lingula.data.split_rules import SplitRule, drawn
from lingula.data.study import ImageReference, Region, Study

PNEUMONIA = "Pneumonia"
CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
BOX = ("x", "y", "width", "height")


class RsnaSource(PublicSource):
    """The challenge's second stage."""

    name = "rsna"
    citation = "Shih et al., RSNA Pneumonia, Radiology: Artificial Intelligence 2019"
    licence = "attribution to the NIH Clinical Center; rules of the RSNA challenge"
    rules: Mapping[str, SplitRule] = {
        "mgca": SplitRule(
            "as MGCA's detection code: 5,337 val and 5,337 test, random_state 0",
            drawn(2 * 5337, seed=0),
            "MGCA mgca/preprocess/rsna.py prepare_detection_data; G2D (arXiv 2312.01522) Table 6",
            sizes=(16_010, 5_337, 5_337),
        ),
        "mgca-code": SplitRule(
            "as MGCA's classification code: 70/15/15, random_state 0 (its paper's table has the sizes of `mgca`)",
            drawn(0.3, seed=0),
            "MGCA mgca/preprocess/rsna.py preprocess_rsna_data",
            sizes=(18_678, 4_003, 4_003),
        ),
        "benchx": SplitRule(
            "as BenchX: 70/15/15, stratified, random_state 42; equal to its lists",
            drawn(0.3, seed=42, stratified=True, second="val"),
            "BenchX preprocess/datasets/RSNA",
            sizes=(18_678, 4_003, 4_003),
        ),
    }
    notes = (
        "The images are ChestX-ray14's: what was trained on ChestX-ray14 has seen them. patientId names an image, so the images "
        "of one NIH patient may be in two splits; the table of the challenge does not say which.",
        "The code of a later work (Med-UniC) selects its model on the test images; its numbers are not comparable.",
    )
    headers = True
    _heavy = ("_rows", "_classes")

    def _open(self) -> None:
        _, table = self._table("stage_2_train_labels.csv", need=("patientId", "Target", *BOX))
        self._rows: dict[str, list[Row]] = {}
        for row in distinct(table.rows, self.skipped):
            self._rows.setdefault(row["patientId"], []).append(row)
        self._classes: dict[str, str] = {}
        if self.folder.find_table("stage_2_detailed_class_info.csv") is not None:
            _, info = self._table("stage_2_detailed_class_info.csv", need=("patientId", "class"))
            self._classes = {row["patientId"]: row["class"] for row in info.rows}

    def _studies(self) -> Iterator[Study]:
        folder = PurePosixPath(self.folder.table("stage_2_train_labels.csv")).parent / "stage_2_train_images"
        for name, rows in self._rows.items():
            boxes = [box_of(row, BOX) for row in rows]
            regions = [Region(finding=PNEUMONIA, kind="pathology", box=box) for box in boxes if box is not None]
            target = {row["Target"] for row in rows}
            if target not in ({"0"}, {"1"}) or (target == {"1"}) != bool(regions):
                problem = f"{self.name}: image {name} has target {' and '.join(sorted(target))} and {len(regions)} boxes"
                raise UserError(problem, "Mend the table.")
            read = self._classes.get(name, "")
            yield Study(
                study_id=name,
                patient_id=name,
                images=[ImageReference(path=self._image(folder, name))],
                labels={PNEUMONIA: int(bool(regions)), **({each: int(each == read) for each in CLASSES} if read else {})},
                regions=regions,
                licence=self.licence,
            )

    def _positive(self, study: Study) -> bool:
        return study.labels[PNEUMONIA] == 1

    def _image(self, folder: PurePosixPath, name: str) -> str:
        """Return the path of an image: DICOM in the published folder, or a copy as PNG or JPEG wherever it lies."""
        whole = (folder / f"{name}.dcm").as_posix()
        copies = (self.folder.named(f"{name}{ending}") for ending in (".dcm", ".png", ".jpg"))
        return whole if whole in self.folder.files else next((path for path in copies if path), whole)
