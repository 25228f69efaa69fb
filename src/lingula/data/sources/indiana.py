"""Indiana University chest radiographs (OpenI): 7,470 images, 3,955 reports, MeSH codes by hand.

Citation: Demner-Fushman et al., "Preparing a collection of radiology examinations for distribution and retrieval", JAMIA 2016.
Licence: CC BY-NC-ND 4.0.
Download: https://openi.nlm.nih.gov/faq: NLMCXR_reports.tgz and NLMCXR_png.tgz (or NLMCXR_dcm.tgz), all below one folder. The
reports are read from the archive or from its unpacked ecgen-radiology/*.xml.

Quirks: an image is named only inside its report (`parentImage id`), 104 reports name none and are left out; DICOM copies are
looked for by the folder of the report's number and the part of the name from IM- on (how exactly they are named is not
checked on the real archive); words taken out stand as XXXX; views are not told; who is the
patient is not told either, so every report is a patient of its own. Labels are the fourteen CheXpert findings that the manual
codes name, absent where no code does, open where a code leaves it open (our mapping, see the labeller's page); reports that
nobody indexed have none.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Literal
from xml.etree import ElementTree

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.data.sources.public import PublicSource
from lingula.data.split_rules import SplitRule, whole_patients
from lingula.data.study import ImageReference, Report, Study
from lingula.data.text.indiana import IndianaReport, read_report
from lingula.data.text.indiana_labels import coded_labels

ARCHIVE = "nlmcxr_reports.tgz"


class IndianaSource(PublicSource):
    """The reports with their images."""

    name = "indiana"
    citation = "Demner-Fushman et al., JAMIA 2016"
    licence = "CC BY-NC-ND 4.0"
    reports = True
    rules: Mapping[str, SplitRule] = {
        "report": SplitRule("80/10/10 by report", whole_patients(0.8, 0.1), "ours; there is no official split"),
    }
    notes = ("Patients are not told: two examinations of one patient may be in two splits.",)
    _heavy = ("_reports", "_dicom")

    def _open(self) -> None:
        paths = [PurePosixPath(name) for name in self.folder.files if name.endswith(".dcm")]
        self._dicom = {(path.parent.name, path.stem[path.stem.find("IM-") :]): path.as_posix() for path in paths}
        self._reports: list[tuple[IndianaReport, list[str]]] = []
        contents: list[bytes] = []
        for content in self._files():
            try:
                root = ElementTree.fromstring(content)
            except ElementTree.ParseError:
                self._skip("report that is no XML")
                continue
            contents.append(content)
            images = [image.get("id", "") for image in root.iter("parentImage")]
            if images:
                self._reports.append((read_report(root), images))
            else:
                self._skip("report without an image")
        self.hashes["reports"] = sha256_of(*contents)
        self._reports.sort(key=lambda each: int("0" + "".join(filter(str.isdigit, each[0].name))))

    def _files(self) -> Iterator[bytes]:
        """Yield the content of every report, unpacked or not."""
        unpacked = sorted(name for name in self.folder.files if name.endswith(".xml") and "ecgen-radiology" in name)
        if unpacked:
            yield from ((self.root / name).read_bytes() for name in unpacked)
            return
        try:
            with tarfile.open(self.root / self.folder.table(ARCHIVE)) as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.name.endswith(".xml") else None
                    if file is not None:
                        yield file.read()
        except (tarfile.TarError, EOFError) as error:
            raise UserError(f"{ARCHIVE} below {self.root} cannot be unpacked ({error})", "Download it again.") from None

    def _studies(self) -> Iterator[Study]:
        for report, images in self._reports:
            known: dict[str, Literal[1, 0] | None] = {}
            for finding, value in (coded_labels(report) or {}).items():
                known[finding] = None if value is None else 1 if value else 0
            yield Study(
                study_id=report.name,
                patient_id=report.name,
                images=[ImageReference(path=self._image(name)) for name in dict.fromkeys(images)],
                report=Report(sections=report.sections) if report.sections else None,
                labels=known,
                licence=self.licence,
                extra={"codes": "; ".join(report.codes)} if report.codes else {},
            )

    def _image(self, name: str) -> str:
        """Return where an image is, as PNG, or as DICOM in a folder named by the report's number."""
        number = name.split("_")[0].removeprefix("CXR")
        dicom = self._dicom.get((number, name[name.find("IM-") :]))
        return self.folder.named(f"{name}.png") or dicom or f"NLMCXR_png/{name}.png"
