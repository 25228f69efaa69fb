"""How the columns of a table are read; `none` switches a column off."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lingula.core.config import Config
from lingula.data.run_length import RleDialect

NONE = "none"


class CsvConfig(Config):
    """Column mapping of a table of images, one row per image.

    A column named by default is used where it is there; a name that differs from the default must be there.
    """

    name: str = ""
    """Name of the data set; empty: the table's file name."""
    citation: str = ""
    """How to cite the data set."""
    image_column: str = "image"
    """Path of the image, relative to the root folder."""
    text_column: str = "text"
    """Note or caption as one text; used for rows without sections and report."""
    report_column: str = "report"
    """Report as exported; it is cut into its sections. Used for rows whose section columns are all empty."""
    left_out_sections: tuple[str, ...] = ("signature",)
    """Sections of such a report that the store does not hold: who signed it, and when."""
    section_columns: tuple[str, ...] = ("indication", "technique", "comparison", "findings", "impression")
    """Sections of the report, in reading order; each column's name becomes the section's name."""
    labels_column: str = "labels"
    """Findings of the image in one cell."""
    separators: tuple[str, ...] = (";", "|", ", ")
    """What stands between findings in one cell."""
    finding_columns: tuple[str, ...] = ()
    """One column per finding instead: 1 present, 0 absent, -1 uncertain, blank not mentioned (as CheXpert does)."""
    absent_label: Literal["negative", "unknown"] = "negative"
    """What a row that lists findings says about those that it does not list; a row with an empty cell says nothing."""
    label_group_column: str = "source"
    """Rows are annotated with the findings that occur in their own group only; findings of other groups are unknown to them."""
    unlabelled: tuple[str, ...] = ("Unknown", "nan")
    """Cells that mean that nothing is known."""
    min_label_count: Annotated[int, Field(ge=1)] = 1
    """Findings listed for fewer images are no labels; they are kept as text in `extra`."""
    patient_id_column: str = "patient_id"
    """Patient; splits and confidence intervals are by patient. Without it every study is its own patient."""
    study_id_column: str = "study_id"
    """Rows with the same id are one study; without it every row is one."""
    split_column: str = "split"
    """train, val (also valid, validation, dev) or test; blank or `none`: by a hash of the patient."""
    view_column: str = "view"
    """Projection: PA, AP (also `AP supine`), lateral, CT."""
    licence_column: str = "licence"
    """Licence of the image."""
    sex_column: str = "sex"
    """M or F; kept in `extra`."""
    age_column: str = "age"
    """Years; kept in `extra`."""
    extra_columns: tuple[str, ...] | None = None
    """Columns kept as text in `extra`; None: all that nothing else uses."""
    boxes_table: str = "boxes.csv"
    """Boxes, beside the table: image, kind, phrase, sentence, x1, y1, x2, y2 in pixels of the image."""
    masks_table: str = "masks.csv"
    """Masks, beside the table: image, mask (path of a PNG of the image's size) or rle (run lengths), label, kind."""
    rle_dialect: RleDialect = "relative"
    """How run lengths are written: from the end of the last run (SIIM-ACR), or from the first pixel, counted from 1."""
