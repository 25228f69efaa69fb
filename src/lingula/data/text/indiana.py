"""The Indiana University chest radiograph reports: real text with true sections and manual MeSH codes, to measure against.

Demner-Fushman et al., "Preparing a collection of radiology examinations for distribution and retrieval", JAMIA 2016.
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from lingula.core.errors import UserError
from lingula.data.text.normalise import normalise_text

ORDER = ("comparison", "indication", "findings", "impression")


@dataclass(frozen=True)
class IndianaReport:
    """One report as its XML file has it.

    Args:
        name: Number of the report, e.g. `CXR1`.
        sections: Comparison, indication, findings, impression, in this order; only those with text, normalised.
        codes: Manual MeSH codes, `heading/qualifier/...` in lower case; `normal` where nothing was coded.
    """

    name: str
    sections: dict[str, str]
    codes: tuple[str, ...]


def read_indiana(archive: Path) -> list[IndianaReport]:
    """Read all reports of `NLMCXR_reports.tgz`, ordered by number.

    Raises:
        UserError: The archive is missing.
    """
    if not archive.is_file():
        raise UserError(f"no such archive: {archive}", "Get NLMCXR_reports.tgz from openi.nlm.nih.gov.")
    reports = []
    with tarfile.open(archive) as files:
        for member in files:
            file = files.extractfile(member) if member.name.endswith(".xml") else None
            if file is not None:
                reports.append(read_report(ElementTree.parse(file).getroot()))
    return sorted(reports, key=lambda report: int(report.name.removeprefix("CXR")))


def read_report(root: ElementTree.Element) -> IndianaReport:
    """Return one report from the root of its XML file."""
    texts = {part.get("Label", "").lower(): normalise_text(part.text or "") for part in root.iter("AbstractText")}
    codes = tuple((code.text or "").strip().lower() for code in root.iter("major"))
    name = root.find("uId")
    sections = {section: texts[section] for section in ORDER if texts.get(section)}
    return IndianaReport(name.get("id", "") if name is not None else "", sections, codes)
