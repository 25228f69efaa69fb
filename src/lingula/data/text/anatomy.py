"""Which part of the body a sentence of a chest CT report speaks of; the list of parts is ours, no paper gives COLIPRI's."""

from __future__ import annotations

import re

OTHER = "other"
"""Where no part is named."""

_PARTS: dict[str, str] = {
    "devices": r"catheter|cannula|pacemaker|electrode|\bstents?\b|suture|prosthe|\btube\b|\bport\b|sternotomy|implant",
    "lymph nodes": r"lymph|\blaps?\b|adenopath",
    "neck and wall": r"thyroid|breast|axill|supraclavic|chest wall|thoracic wall|subcutaneous|muscle|skin",
    "heart": r"heart|cardiac|cardiomegaly|cardiothoracic|\bctr\b|pericard|\bventric|\batri(?:um|al)|valve",
    "pleura": r"\bpleura|hemithora|pneumothora|hydrothora|effusion",
    "vessels": r"\baort|arter(?:y|ies|ial)|\bvascular|coronar|vena cava|\bvessel|pulmonary trunk|embol|atheroma|atherosclero",
    "oesophagus": r"o?esophag|hiatal|hernia",
    "airways": r"\btrachea|\bmain bronch|airway|carina",
    "lungs": (
        r"lung|pulmon|lobe|lingula|bronch|parenchym|nodul|consolidat|ground.glass|opaci|emphysem|atelecta|infiltrat|mosaic"
        r"|septal|septa\b|fissure|sequel|pneumon|bulla"
    ),
    "bones": r"bone|osseous|vertebr|\bribs?\b|sternum|scapula|clavic|fractur|scolio|kypho|osteo|spin(?:e|al)|spondyl|lytic",
    "abdomen": (
        r"abdom|liver|hepat|spleen|splen|kidney|renal|adrenal|pancrea|gallbladder|biliar|bile|stomach|gastric|bowel|intestin"
        r"|perito|ascites|bladder|prostate|uter|ovar|colon|mesent|lithiasis"
    ),
    "mediastinum": r"mediastin|thymus|thymic|hil(?:um|ar|us)",
}
_ABDOMEN_FIRST = re.compile(r"abdom|liver|hepat|spleen|kidney|renal|adrenal|pancrea|gallbladder", re.IGNORECASE)
_EXPRESSIONS = {part: re.compile(expression, re.IGNORECASE) for part, expression in _PARTS.items()}
PARTS = (*_PARTS, OTHER)
"""All parts, in the order in which they are tried."""


def part_of(sentence: str) -> str:
    """Return the part of the body that a sentence speaks of, `other` where it names none.

    The first of `PARTS` that it names counts; an organ of the abdomen outweighs words that fit several organs ("parenchyma").

    >>> part_of("A 4 mm nodule in the left upper lobe."), part_of("Liver parenchyma density is normal.")
    ('lungs', 'abdomen')
    """
    if _ABDOMEN_FIRST.search(sentence) and not _EXPRESSIONS["vessels"].search(sentence):
        return "abdomen"
    return next((part for part, expression in _EXPRESSIONS.items() if expression.search(sentence)), OTHER)
