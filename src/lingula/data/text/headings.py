"""The headings of radiology reports, and which section each of them opens."""

from __future__ import annotations

import difflib
from functools import lru_cache

SECTIONS: dict[str, tuple[str, ...]] = {
    "findings": (
        *("findings", "finding", "finding(s)", "findings and impression", "findings/impression", "findings & impression"),
        *("observation", "observations", "description", "report", "radiographic findings", "imaging findings", "chest findings"),
        *("radiological findings", "body of report", "narrative", "result", "results", "interpretation of findings"),
    ),
    "impression": (
        *("impression", "impressions", "impression(s)", "conclusion", "conclusions", "conclusion(s)", "opinion", "assessment"),
        *("summary", "final impression", "diagnostic impression", "radiological impression", "impression/recommendation"),
        *("impression and recommendation", "impression and recommendations", "impression & recommendations", "imp"),
        *("impression/plan", "radiologic diagnosis", "radiological diagnosis", "final diagnosis", "summary/impression"),
        *("interpretation", "conclusion/impression", "impression/conclusion", "summary and conclusion", "key findings"),
    ),
    "comparison": (
        *(
            "comparison",
            "comparisons",
            "comparison(s)",
            "comparison study",
            "comparison studies",
            "comparison exam",
            "compared to",
        ),
        *("comparison examination", "comparison films", "comparison date", "prior study", "prior studies", "prior exam"),
        *("previous examination", "previous examinations", "previous study", "prior", "priors", "correlation"),
    ),
    "indication": (
        *("indication", "indications", "indication(s)", "clinical indication", "clinical indications", "reason for exam"),
        *("indication for exam", "indication for study", "reason for examination", "reason for this examination", "reason"),
        *("reason for study", "reason for test", "reason for visit", "clinical information", "clinical data", "clinical details"),
        *(
            "clinical question",
            "clinical statement",
            "clinical impression",
            "clinical concern",
            "clinical context",
            "ordering diagnosis",
        ),
        *(
            "admitting diagnosis",
            "clinical diagnosis",
            "working diagnosis",
            "question",
            "presenting complaint",
            "chief complaint",
        ),
    ),
    "history": (
        *("history", "clinical history", "patient history", "medical history", "past medical history", "relevant history", "hx"),
        *("history of present illness", "brief history", "provided history", "history and indication", "history/indication"),
        *("indication/history", "indication and history"),
    ),
    "technique": (
        *("technique", "techniques", "technique(s)", "procedure", "procedure description", "imaging technique", "protocol"),
        *(
            "technical factors",
            "technique and findings",
            "views",
            "projection",
            "projections",
            "technical comments",
            "number of views",
        ),
    ),
    "examination": (
        *("examination", "exam", "exams", "study", "examination type", "exam type", "type of exam", "type of examination"),
        *("study type", "procedure performed", "exam description", "title", "order", "modality", "exam title", "test"),
    ),
    "recommendation": ("recommendation", "recommendations", "recommendation(s)", "follow-up", "follow up", "followup", "advice"),
    "notification": (
        *("notification", "notifications", "communication", "critical results", "critical result", "critical finding"),
        *("results communication", "communication of results", "discussed with"),
    ),
    "addendum": (
        "addendum",
        "addenda",
        "addendum report",
        "wet read",
        "preliminary report",
        "preliminary read",
        "comment",
        "comments",
    ),
    "header": (
        *("final report", "radiology report", "report status", "patient", "patient name", "name", "mrn", "dob", "date of birth"),
        *("accession", "accession number", "accession no", "date", "date of exam", "exam date", "study date", "date of service"),
        *("ordering physician", "referring physician", "requesting physician", "location", "sex", "age", "gender", "patient id"),
    ),
    "signature": (
        *("signed by", "electronically signed by", "electronically signed", "dictated by", "signed", "reported by", "read by"),
        *(
            "transcribed by",
            "attending",
            "attending radiologist",
            "radiologist",
            "resident",
            "signature",
            "dictated",
            "verified by",
        ),
        *("approved by", "interpreted by", "final report electronically signed by", "attestation", "transcriptionist"),
    ),
}
"""Section name to the headings that open it, in lower case."""

NAMES = {heading: name for name, headings in SECTIONS.items() for heading in headings}
STRONG = frozenset(
    {
        *("findings", "impression", "impressions", "comparison", "comparisons", "indication", "indications", "technique"),
        *("conclusion", "conclusions", "clinical indication", "clinical history", "reason for exam", "reason for examination"),
        *("findings and impression", "findings/impression", "comparison study", "reason for study", "clinical information"),
    }
)
"""Headings that hardly occur inside a sentence, so that they count in the middle of a line too."""
_TYPED = ("findings", "impression", "comparison", "indication", "technique", "conclusion", "history", "examination")
LONGEST = max(len(heading.split()) for heading in NAMES)
"""Words of the longest heading."""


def section_of(heading: str) -> str:
    """Return the section that a heading opens, "" where it is none.

    >>> section_of("Reason  for exam"), section_of("Heart")
    ('indication', '')
    """
    return NAMES.get(" ".join(heading.lower().split()), "")


@lru_cache(maxsize=4096)
def section_of_typo(word: str) -> str:
    """Return the section that a misspelt heading of one word opens, "" where it resembles none.

    >>> section_of_typo("Impresion"), section_of_typo("Mediastinum")
    ('impression', '')
    """
    if not (6 <= len(word) <= 14 and word.isalpha()):
        return ""
    close = difflib.get_close_matches(word.lower(), _TYPED, n=1, cutoff=0.84)
    return NAMES[close[0]] if close and close[0][0] == word[0].lower() else ""
