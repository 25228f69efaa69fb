"""VinDr-CXR: 18,000 radiographs of two hospitals in Hanoi, read by 17 radiologists: 22 findings with boxes, 6 diagnoses.

Citation: Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", Scientific Data 2022.
Licence: PhysioNet Credentialed Health Data License 1.5.0; the Kaggle copy: rules of the VinBigData challenge.
Download: https://physionet.org/content/vindr-cxr/1.0.0/: train/, test/ (ID.dicom) and annotations/; or, without the test images'
labels, https://www.kaggle.com/c/vinbigdata-chest-xray-abnormalities-detection: train/ and train.csv.

Quirks: three readers each read a training image, the test images have one consensus of five and no `rad_id`; an image without a
box has a row "No finding" with blank corners; the tables of image labels name one column "Other disease" or "Other diseases";
the Kaggle table joins rarer findings into "Other lesion" and has no diagnoses. A finding is present where more than half of an
image's readers name it, uncertain where fewer do, absent where none does (ours); boxes of all readers are kept for findings that
are present. Patients are not told, every image is a patient of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from lingula.core.errors import UserError
from lingula.data.sources.csv_labels import LabelValue
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import box_of, distinct, number
from lingula.data.sources.tables import Row, Table
from lingula.data.split_rules import SplitRule, drawn_from_train
from lingula.data.study import ImageReference, Region, Split, Study

NO_FINDING = "No finding"
CORNERS = ("x_min", "y_min", "x_max", "y_max")
RENAMED = {"Other disease": "Other diseases"}
_READER = "rad_id"

Boxes = dict[str, list[Region]]
Votes = dict[str, dict[str, dict[str, bool]]]
"""Image to reader to finding to whether this reader names it."""


class VindrSource(PublicSource):
    """VinDr-CXR as PhysioNet publishes it, or its Kaggle copy."""

    name = "vindr-cxr"
    citation = "Nguyen et al., VinDr-CXR, Scientific Data 2022"
    licence = "PhysioNet Credentialed Health Data License 1.5.0"
    rules: Mapping[str, SplitRule] = {
        "benchx": SplitRule(
            "as BenchX: 3,000 images of train are val, stratified by any finding, random_state 42",
            drawn_from_train(3000, seed=42, stratified=True, by_name=True),
            "BenchX preprocess/datasets/VinDr_CXR; not checked against its lists on the PhysioNet tables",
            sizes=(12_000, 3_000, 3_000),
        ),
        "tenth": SplitRule(
            "a tenth of train is val", drawn_from_train(0.1, seed=0), "ours; for a copy of another size than the published one"
        ),
    }
    _heavy = ("_labels", "_boxes", "_folders")

    def _open(self) -> None:
        self._labels: dict[str, dict[str, LabelValue]] = {}
        self._boxes: Boxes = {}
        self._folders: dict[str, Split] = {}
        if self.folder.find_table("annotations_train.csv") is None:
            _, table = self._table("train.csv", "annotations_train.csv", need=("image_id", "class_name", _READER, *CORNERS))
            self._add("train", _votes_of_boxes(table), _boxes(table, self))
            self._skip("table of the test images (annotations_test.csv) that is not there")
            return
        splits: tuple[Split, ...] = ("train", "test")
        for split in splits:
            _, boxes = self._table(f"annotations_{split}.csv", need=("image_id", "class_name", *CORNERS))
            _, labels = self._table(f"image_labels_{split}.csv", need=("image_id", NO_FINDING))
            self._add(split, _votes_of_labels(labels), _boxes(boxes, self))

    def _add(self, split: Split, votes: Votes, boxes: Boxes) -> None:
        for image, readers in votes.items():
            if image in self._folders:
                raise UserError(f"{self.name}: image {image} is in both tables", "Download them again.")
            self._folders[image] = split
            self._labels[image] = _majority(list(readers.values()))
        strangers = set(boxes) - set(votes)
        if strangers:
            raise UserError(f"{self.name}: image {min(strangers)} has boxes and no labels", "Download the tables again.")
        self._boxes |= boxes

    def _studies(self) -> Iterator[Study]:
        for name, split in self._folders.items():
            labels = self._labels[name]
            copies = (self.folder.named(f"{name}{ending}") for ending in (".dicom", ".dcm", ".png", ".jpg"))
            yield Study(
                study_id=name,
                patient_id=name,
                images=[ImageReference(path=next((path for path in copies if path), f"{split}/{name}.dicom"))],
                labels=labels,
                regions=[region for region in self._boxes.get(name, []) if labels.get(region.finding) == 1],
                split=split,
                licence=self.licence,
            )

    def _positive(self, study: Study) -> bool:
        """Any reader names anything, as BenchX stratifies."""
        return any(value != 0 for finding, value in study.labels.items() if finding != NO_FINDING)


def _votes_of_labels(table: Table) -> Votes:
    """Read one row per image and reader, one column per finding."""
    votes: defaultdict[str, dict[str, dict[str, bool]]] = defaultdict(dict)
    findings = [name for name in table.columns if name not in ("image_id", _READER)]
    for row in table.rows:
        named = {RENAMED.get(finding, finding): _is_named(row, finding, table) for finding in findings}
        votes[row["image_id"]][row.get(_READER, "consensus")] = named
    return dict(votes)


def _is_named(row: Row, finding: str, table: Table) -> bool:
    value = number(row[finding])
    if value not in (0, 1):
        problem = f"table {table.path}: '{row[finding]}' in column '{finding}' of {row['image_id']} is not 0 or 1"
        raise UserError(problem, "Download it again.")
    return value == 1


def _votes_of_boxes(table: Table) -> Votes:
    """Read one row per box; a reader names what he drew."""
    findings = sorted({row["class_name"] for row in table.rows})
    votes: defaultdict[str, dict[str, dict[str, bool]]] = defaultdict(dict)
    for row in table.rows:
        named = votes[row["image_id"]].setdefault(row[_READER], dict.fromkeys(findings, False))
        named[row["class_name"]] = True
    return dict(votes)


def _majority(readers: list[dict[str, bool]]) -> dict[str, LabelValue]:
    labels: dict[str, LabelValue] = {}
    for finding in readers[0]:
        named = sum(reader[finding] for reader in readers)
        labels[finding] = 1 if 2 * named > len(readers) else -1 if named else 0
    return labels


def _boxes(table: Table, source: PublicSource) -> Boxes:
    boxes: defaultdict[str, list[Region]] = defaultdict(list)
    for row in distinct(table.rows, source.skipped):
        box = box_of(row, CORNERS, corners=True)
        if box is not None:
            boxes[row["image_id"]].append(Region(finding=row["class_name"], kind="pathology", box=box))
        elif row["class_name"] != NO_FINDING:
            source.skipped["finding without a box"] += 1
    return dict(boxes)
