"""Names, dates and numbers in the header of a DICOM file, by tag; never their values."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from lingula.data.dicom import damage

NUMBERS = frozenset(
    (
        *("PatientID", "IssuerOfPatientID", "OtherPatientIDs", "MedicalRecordLocator", "AccessionNumber", "StudyID"),
        *("AdmissionID", "RequestedProcedureID", "ScheduledProcedureStepID", "PerformedProcedureStepID"),
        *("FillerOrderNumberImagingServiceRequest", "PlacerOrderNumberImagingServiceRequest", "DeviceSerialNumber"),
    )
)
PLACES = frozenset(
    (
        *("PatientAddress", "PatientTelephoneNumbers", "CountryOfResidence", "RegionOfResidence", "ReferringPhysicianAddress"),
        *("ReferringPhysicianTelephoneNumbers", "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName"),
        *("StationName", "PersonAddress", "PersonTelephoneNumbers", "CurrentPatientLocation", "PatientInstitutionResidence"),
    )
)
REMARKS = frozenset(("PatientComments", "ImageComments", "AdditionalPatientHistory", "Occupation", "MilitaryRank", "EthnicGroup"))
"""Keywords of the Basic Application Level Confidentiality Profile (DICOM PS3.15, table E.1-1) that tell who or where."""
KINDS = {**dict.fromkeys(NUMBERS, "number"), **dict.fromkeys(PLACES, "place"), **dict.fromkeys(REMARKS, "remark")}
BY_REPRESENTATION = {"PN": "name", "DA": "date", "DT": "date"}
"""Every person name and every date counts, whatever its tag, private ones too."""
MAY_TELL = (*BY_REPRESENTATION, "SQ", "UN")
"""Value representations whose elements are looked at whatever their tag; decoding all others takes most of a scan's time."""
BURNED_IN = "text or face"
BURNED_IN_TAGS = ("BurnedInAnnotation", "RecognizableVisualFeatures")
_PLACEHOLDER = re.compile(
    r"(?i)\W*(?:(?:anon(?:ym\w*)?|de-?identified)(?:[\W\d_].*)?|removed|unknown|none|n/?a|no[ _^]?name|x{2,}|0+|_+)?\W*"
)
"""What de-identification leaves in the place of a value."""


def tags_with_phi(header: Dataset) -> dict[str, str]:
    """Return which tags of a header, within sequences too, tell who the patient is: keyword (number where it has none) to kind.

    Kinds: name, date, number, place, remark, `text or face` (the header says that the pixels hold one). Placeholders do
    not count, nor does a Patient's Name that repeats the Patient ID; where Patient Identity Removed is YES, dates and numbers are
    taken for shifted and replaced, and do not count either.

    Raises:
        UnreadableImage: The header is damaged.
    """
    with damage():
        return dict(_found(header))


def _found(header: Dataset) -> Iterator[tuple[str, str]]:
    for tag in BURNED_IN_TAGS:
        if str(header.get(tag, "")).strip().upper() == "YES":
            yield tag, BURNED_IN
    replaced = str(header.get("PatientIdentityRemoved", "")).strip().upper() == "YES"
    for element in _elements(header):
        kind = KINDS.get(element.keyword) or BY_REPRESENTATION.get(element.VR)
        if kind is None or (replaced and kind in ("date", "number")) or _PLACEHOLDER.fullmatch(str(element.value or "")):
            continue
        if element.keyword == "PatientName" and str(element.value) == str(header.get("PatientID", "")):
            continue
        yield element.keyword or f"{element.tag}", kind


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    """Yield the elements that may tell something, those within sequences too; no other one is decoded."""
    for tag in sorted(dataset.keys()):
        listed = dictionary_has_tag(tag)
        representation = dataset.get_item(tag).VR or (dictionary_VR(tag) if listed else "UN")
        if representation not in MAY_TELL and not (listed and dictionary_keyword(tag) in KINDS):
            continue
        element = dataset[tag]
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)
