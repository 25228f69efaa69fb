"""What the header of a DICOM file says about its radiograph, as a row of text cells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID

from lingula.data.dicom import DEFAULTS, damage, defaults_used, read_header
from lingula.data.dicom_values import has_voi_table, window_of
from lingula.data.phi import OLDEST, Leak
from lingula.data.phi_tags import BURNED_IN, tags_with_phi
from lingula.data.readers import UnreadableImage, is_dicom
from lingula.data.sources.dicom_config import DicomConfig
from lingula.data.sources.published_rows import number
from lingula.data.sources.rows import sex_of, years_of
from lingula.data.sources.tables import Row

KEYS = ("SOPInstanceUID", "StudyInstanceUID", "AccessionNumber")
TAGS = [
    *KEYS,
    *DEFAULTS,
    *("SOPClassUID", "Modality", "PatientID", "PatientSex", "PatientAge", "ViewPosition", "ViewCodeSequence"),
    *("BodyPartExamined", "Manufacturer", "PresentationIntentType", "BurnedInAnnotation", "BitsStored"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
]
SOP_CLASS_MODALITY = {"Computed Radiography": "CR", "Digital X-Ray": "DX"}
"""Modality by the beginning of the SOP class's name, where the tag is missing."""


class NotTaken(Exception):  # noqa: N818
    """A file that is no image of the kind asked for.

    Args:
        reason: Why, in a few words.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def files_below(root: Path, on_error: Callable[[OSError], None]) -> Iterator[str]:
    """Yield the paths of all files below a folder, relative to it, in order; linked folders too, each real folder once.

    Args:
        root: The folder.
        on_error: Called with the error of a folder that cannot be listed.
    """
    seen: set[tuple[int, int]] = set()
    for folder, names, files in os.walk(root, followlinks=True, onerror=on_error):
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) in seen:
            names.clear()
            continue
        seen.add((about.st_dev, about.st_ino))
        names.sort()
        for name in sorted(files):
            yield os.path.relpath(os.path.join(folder, name), root)


def read_row(root: Path, name: str, config: DicomConfig) -> Row:
    """Return the cells of one file; of a damaged one the path alone, so that reading it later says what is wrong.

    Raises:
        NotTaken: The file is no radiograph, or not one that the configuration asks for.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise NotTaken("file name is not UTF-8") from None
    try:
        if not is_dicom(root / name):
            raise NotTaken("not a DICOM file")
        header = read_header(root / name, tags=TAGS)
        check_wanted(header, config)
        with damage():
            return {"image": name, **_cells(header)}
    except UnreadableImage:
        return {"image": name}


def told_by_header(path: Path) -> dict[str, str]:
    """Return sex, age and view of a DICOM file, those that its header tells; nothing of other files.

    An age over 89 years, which may tell who the patient is, is left out: it is read too late to warn of it.
    """
    if not is_dicom(path):
        return {}
    header = read_header(path, tags=("PatientSex", "PatientAge", "ViewPosition", "ViewCodeSequence"))
    sex, age = (header_text(header, tag) for tag in ("PatientSex", "PatientAge"))
    years = years_of(age)
    told = {"sex": sex_of(sex), "age": "" if (number(years) or 0) > OLDEST else years, "view": _view(header)}
    return {name: text for name, text in told.items() if text}


def header_leaks(root: Path, name: str) -> list[Leak]:
    """Return the tags of one file that tell who the patient is; none of a damaged file, which is quarantined."""
    try:
        return leaks_in(read_header(root / name), name) if is_dicom(root / name) else []
    except UnreadableImage:
        return []


def leaks_in(header: Dataset, name: str) -> list[Leak]:
    """Return the tags of a header that tell who the patient is.

    Args:
        header: Of one file, whole.
        name: The file's.

    Raises:
        UnreadableImage: The header is damaged.
    """
    found = tags_with_phi(header)
    return [Leak("pixels" if kind == BURNED_IN else "header", tag, kind, name) for tag, kind in found.items()]


def check_wanted(header: FileDataset, config: DicomConfig) -> None:
    """Check that a header is of an image that the configuration asks for.

    Raises:
        NotTaken: It is not.
    """
    kind = UID(header_text(header, "SOPClassUID") or str(header.file_meta.get("MediaStorageSOPClassUID", ""))).name
    if kind and not kind[0].isdigit() and "Image Storage" not in kind:
        raise NotTaken(f"no image: {kind}")
    modality = header_text(header, "Modality").upper() or next(
        (m for n, m in SOP_CLASS_MODALITY.items() if kind.startswith(n)), ""
    )
    if modality not in config.modalities:
        raise NotTaken(f"modality {modality[:16] or 'unknown'}")
    if not config.raw_images and (header_text(header, "PresentationIntentType") == "FOR PROCESSING" or "For Processing" in kind):
        raise NotTaken("raw detector image (for processing)")
    part = header_text(header, "BodyPartExamined").upper()
    if config.body_parts and part not in config.body_parts:
        raise NotTaken(f"body part {part[:16] or 'unknown'}")


def _cells(header: FileDataset) -> Row:
    window = window_of(header)
    shown = "VOI LUT" if has_voi_table(header) else " ".join(f"{part}" for part in window) if window else ""
    return {
        **{key: header_text(header, key) for key in KEYS},
        "patient_id": header_text(header, "PatientID"),
        "sex": header_text(header, "PatientSex"),
        "age": header_text(header, "PatientAge"),
        "view": _view(header),
        "modality": header_text(header, "Modality"),
        "body_part": header_text(header, "BodyPartExamined"),
        "manufacturer": header_text(header, "Manufacturer"),
        "window": shown,
        "burned_in_annotation": header_text(header, "BurnedInAnnotation"),
        "defaults": ", ".join(defaults_used(header)),
    }


def _view(header: FileDataset) -> str:
    """Return View Position, or else what the view's code means (`postero-anterior`)."""
    if position := header_text(header, "ViewPosition"):
        return position
    codes = header.get("ViewCodeSequence")
    meaning = header_text(codes[0], "CodeMeaning").lower() if codes else ""
    for word, view in {"postero-anterior": "PA", "antero-posterior": "AP", "lateral": "LATERAL"}.items():
        if word in meaning:
            return view
    return meaning


def header_text(header: Dataset, tag: str) -> str:
    """Return a tag as one line of valid text, empty where it is missing."""
    with damage():
        value = header.get(tag)
    return " ".join(str("" if value is None else value).replace("\0", " ").encode(errors="replace").decode().split())
