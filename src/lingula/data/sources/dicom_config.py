"""Which files of a folder of DICOM are radiographs, and how a table of reports is joined to them."""

from __future__ import annotations

from typing import Literal

from lingula.core.config import Config


class DicomConfig(Config):
    """What is taken from a folder of DICOM files; everything else is skipped and counted by its reason."""

    modalities: tuple[str, ...] = ("CR", "DX", "RG")
    """Modalities that are radiographs: computed, digital, digitised film. Where the tag is missing, the SOP class decides. With
    --projection ct the default is CT."""
    body_parts: tuple[str, ...] = ()
    """Only these values of Body Part Examined, e.g. CHEST; empty: all, also where the tag is missing."""
    raw_images: bool = False
    """Take detector images meant for processing too; they are not what a radiologist sees."""
    crop_border: bool = False
    """Cut off a constant border (collimator, film edge); models trained on the store do so too."""
    join_column: Literal["", "SOPInstanceUID", "StudyInstanceUID", "AccessionNumber"] = ""
    """Tag that the table's rows are joined on; empty: the first of the three for which the table has a column."""
