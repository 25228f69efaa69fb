"""From the manual MeSH codes of the Indiana reports to the fourteen CheXpert findings, to measure the labeller.

A code says that the coder saw the finding in the report; findings without a code count as absent. The coders did not mark doubt.
"""

from __future__ import annotations

import re
from hashlib import sha256

from lingula.data.text.indiana import IndianaReport
from lingula.data.text.lexicon import LEXICON, NO_FINDING, SUPPORT

CODES: dict[str, str] = {
    "Enlarged Cardiomediastinum": r"mediastinum/.*(?:prominent|enlarged)",
    "Cardiomegaly": r"cardiomegaly|cardiac shadow/(?:enlarged|borderline|.*prominent)",
    "Lung Opacity": (
        r"opacity/(?!.*(?:bone|spine|abdomen|soft))|airspace disease|infiltrate|density/(?:lung|retrocardiac)"
        r"|markings|cicatrix/lung"
        r"|lung diseases, interstitial|pulmonary fibrosis|lung/interstitial|thickening/lung"
    ),
    "Lung Lesion": r"nodule|mass|calcified granuloma|granuloma(?!tous)|(?:opacity|density)/(?:lung|thorax).*round|cavitation",
    "Edema": r"pulmonary edema|pulmonary congestion|heart failure",
    "Consolidation": r"consolidation",
    "Pneumonia": r"pneumonia(?!e)",
    "Atelectasis": r"pulmonary atelectasis|volume loss",
    "Pneumothorax": r"pneumothorax|hydropneumothorax|hemopneumothorax",
    "Pleural Effusion": r"pleural effusion|hydropneumothorax|hemothorax|hemopneumothorax",
    "Pleural Other": r"thickening/pleura|cicatrix/pleura|calcinosis/pleura|pleura\b|thickening/.*pleura",
    "Fracture": r"fractures, bone",
    SUPPORT: (
        r"catheters, indwelling|implanted medical device|medical device|tube, inserted|stents|surgical instruments|spinal fusion"
        r"|sutures|breast implants"
    ),
}
"""Finding to a regular expression that a code (`heading/qualifier/...`, lower case) must begin with."""
UNSURE = {
    "Pleural Effusion": r"costophrenic angle/.*(?:blunted|obscured)",
    "Enlarged Cardiomediastinum": r"cardiac shadow/.*(?:enlarged|prominent)",
}
"""Codes that leave a finding open: reports that have such a code and none of `CODES` are not scored for it."""
_CODES = {finding: re.compile(pattern) for finding, pattern in CODES.items()}
_UNSURE = {finding: re.compile(pattern) for finding, pattern in UNSURE.items()}


def coded_labels(report: IndianaReport) -> dict[str, int | None] | None:
    """Return finding to 1, 0, or None where the codes leave it open; None for a report that was not indexed."""
    if "no indexing" in report.codes or not report.codes:
        return None
    labels: dict[str, int | None] = {}
    for finding in LEXICON:
        labels[finding] = int(any(_CODES[finding].match(code) for code in report.codes))
        if not labels[finding] and finding in _UNSURE and any(_UNSURE[finding].match(code) for code in report.codes):
            labels[finding] = None
    labels[NO_FINDING] = int(not any(value for finding, value in labels.items() if finding != SUPPORT))
    return labels


def is_tuning(report: IndianaReport) -> bool:
    """Whether a report belongs to the half on which rules may be tuned; the other half is only measured."""
    return sha256(report.name.encode()).digest()[0] % 2 == 0
