"""NIH ChestX-ray14: 112,120 frontal radiographs of 30,805 patients, 14 findings mined from reports, 984 boxes.

Citation: Wang et al., "ChestX-ray8: Hospital-scale chest X-ray database and benchmarks", CVPR 2017.
Licence: no restrictions on use, attribution to the NIH Clinical Center required.
Download: https://nihcc.app.box.com/v/ChestXray-NIHCC: the twelve images_0NN.tar.gz, Data_Entry_2017_v2020.csv,
train_val_list.txt, test_list.txt, BBox_List_2017.csv. Unpack everything below one folder; images may lie in images/, in
images_001/images/ … images_012/images/, or in one heap.

Quirks: `OriginalImage[Width,Height]` and `Bbox [x,y,w,h]` are several columns; the table of boxes writes Infiltrate for
Infiltration; newer copies say Patient Sex for Patient Gender; some ages are above 100 (414 years). Labels are of single images;
every image is a study. Findings that a row does not list are absent, as in the papers, though the reports may only not mention
them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Literal

from lingula.core.errors import UserError, nearest
from lingula.data.sources.public import PublicSource
from lingula.data.sources.published_rows import box_of, by_key, distinct
from lingula.data.sources.tables import Row, read_text
from lingula.data.split_rules import SplitRule, drawn_from_train, hold_out_patients, published
from lingula.data.study import ImageReference, Projection, Region, Split, Study

FINDINGS = (
    *("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia"),
    *("Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax"),
)
NO_FINDING = "No Finding"
VIEWS: dict[str, Projection] = {"PA": "PA", "AP": "AP"}
LISTS: dict[str, Split] = {"train_val_list.txt": "train", "test_list.txt": "test"}


class NihSource(PublicSource):
    """ChestX-ray14 as the NIH publishes it."""

    name = "nih"
    citation = "Wang et al., ChestX-ray8, CVPR 2017"
    licence = "no restrictions, attribution to the NIH Clinical Center"
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule(
            "the official test list; a tenth of train_val by patient is val",
            hold_out_patients(share=0.1),
            "Wang et al. 2017, train_val_list.txt and test_list.txt; val is ours",
        ),
        "published": SplitRule(
            "the official lists, without val", published, "Wang et al. 2017, test list 25,596", sizes=(86_524, 0, 25_596)
        ),
        "kad": SplitRule(
            "as KAD and G2D: 8,652 images of train_val are val, drawn by image",
            drawn_from_train(8652, seed=0),
            "G2D (arXiv 2312.01522) Table 6; which images is not published, so the draw is ours",
            sizes=(77_872, 8_652, 25_596),
            leak="train_val is split by image, so patients of val are in train too; test is apart",
            instead="official",
        ),
    }
    _heavy = ("_rows", "_boxes", "_split")

    def _open(self) -> None:
        need = ("Image Index", "Finding Labels", "Patient ID", "View Position")
        kept = ("Patient Age", "Patient Gender", "Patient Sex", "Follow-up #")
        _, table = self._table("data_entry_2017*.csv", need=need, only=kept)
        self._rows = by_key(distinct(table.rows, self.skipped), "Image Index", table)
        self._boxes = self._read_boxes()
        self._split = self._read_lists()

    def _read_boxes(self) -> dict[str, list[Region]]:
        boxes: defaultdict[str, list[Region]] = defaultdict(list)
        if self.folder.find_table("bbox_list_2017.csv") is None:
            self._skip("table of boxes (BBox_List_2017.csv) that is not there")
            return {}
        columns = ("Bbox [x", "y", "w", "h]")
        _, table = self._table("bbox_list_2017.csv", need=("Image Index", "Finding Label", *columns))
        for row in distinct(table.rows, self.skipped):
            box = box_of(row, columns)
            if box is None or row["Image Index"] not in self._rows:
                self._skip("box without four numbers or without an image in the table")
                continue
            finding = row["Finding Label"].replace("Infiltrate", "Infiltration")
            boxes[row["Image Index"]].append(Region(finding=finding, kind="pathology", box=box))
        return dict(boxes)

    def _read_lists(self) -> dict[str, Split]:
        given: dict[str, Split] = {}
        for name, split in LISTS.items():
            path = self.folder.table(name)
            for line in read_text(self.root / path).split():
                if given.setdefault(line, split) != split:
                    raise UserError(f"{line} is in both lists, {' and '.join(LISTS)}", "Download them again.")
        counts = Counter(name in given for name in self._rows)
        self._skip("image that neither list names", counts[False])
        return given

    def _studies(self) -> Iterator[Study]:
        for name, row in self._rows.items():
            path = next((each for each in (f"images/{name}", self.folder.named(name)) if each in self.folder.files), name)
            yield Study(
                study_id=PurePosixPath(name).stem,
                patient_id=row["Patient ID"],
                images=[ImageReference(path=path, projection=VIEWS.get(row["View Position"], "unknown"))],
                labels=_labels(row),
                regions=self._boxes.get(name, []),
                split=self._split.get(name),
                licence=self.licence,
                extra=_extra(row),
            )


def _labels(row: Row) -> dict[str, Literal[1, 0, -1] | None]:
    """Return the findings of a row, none of a blank one.

    Raises:
        UserError: It names something else.
    """
    found = row["Finding Labels"].split("|")
    if found[0].lower() in ("", "nan"):
        return {}
    known = (*FINDINGS, NO_FINDING)
    if strange := sorted(set(found) - set(known)):
        problem = f"nih: {row['Image Index']}: '{strange[0]}' in column 'Finding Labels' is no finding"
        raise UserError(problem, nearest(strange[0], known) or "Is it the published table?")
    return {finding: 1 if finding in found else 0 for finding in known}


def _extra(row: Row) -> dict[str, str]:
    extra = {"sex": row.get("Patient Gender") or row.get("Patient Sex", ""), "age": row.get("Patient Age", "")}
    return {name: text for name, text in (*extra.items(), ("follow_up", row.get("Follow-up #", ""))) if text}
