"""Layouts in which hospital systems export reports, rendered from known sections, to measure the section parser."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Callable, Mapping

Layout = Callable[[Mapping[str, str], random.Random], str]
"""Section name to text, and a source of chance, to one text."""

VARIANTS = {
    "comparison": ("COMPARISONS", "Prior studies", "Comparison Study", "PRIOR EXAM"),
    "indication": ("CLINICAL HISTORY", "Reason for exam", "CLINICAL INFORMATION", "Indications", "REASON FOR STUDY"),
    "findings": ("FINDING", "Radiographic findings", "OBSERVATIONS", "REPORT", "Findings"),
    "impression": ("CONCLUSION", "OPINION", "Impressions", "ASSESSMENT", "SUMMARY", "INTERPRETATION"),
}
TITLE = "XR CHEST PA AND LATERAL"


def misspell(heading: str, chance: random.Random) -> str:
    """Return a heading with one typing error: a letter lost, doubled or replaced, or two letters swapped."""
    place = chance.randrange(1, len(heading) - 1)
    before, here, after = heading[:place], heading[place], heading[place + 1 :]
    letter = chance.choice("AEINORST")
    return chance.choice(
        [before + after, before + here + here + after, before + letter + after, before + after[0] + here + after[1:]]
    )


def _lines(sections: Mapping[str, str], write: Callable[[str, str], str], between: str = "\n\n") -> str:
    return between.join(write(name, text) for name, text in sections.items())


def _wrapped(sections: Mapping[str, str], _: random.Random) -> str:
    parts = [
        textwrap.fill(f"{name.upper()}:  {text}", 78, initial_indent=" ", subsequent_indent=" ")
        for name, text in sections.items()
    ]
    return "\n\n".join(
        [" " * 33 + "FINAL REPORT", f" EXAMINATION:  {TITLE}", *parts, " Electronically signed by Dr. A. Reader, 3:15 PM"]
    )


def _impression_first(sections: Mapping[str, str], _: random.Random) -> str:
    order = sorted(sections, key=lambda name: name != "impression")
    return _lines({name: sections[name] for name in order}, lambda name, text: f"{name.upper()}: {text}")


def _two_headed(sections: Mapping[str, str], _: random.Random) -> str:
    headed = [f"{name.upper()}: {text}" for name, text in sections.items() if name in ("comparison", "indication")]
    return "\n\n".join([*headed, *_body(sections)])


def _body(sections: Mapping[str, str]) -> list[str]:
    return [sections[name] for name in ("findings", "impression") if name in sections]


LAYOUTS: dict[str, Layout] = {
    "headings on their own lines": lambda s, _: _lines(s, lambda n, t: f"{n.upper()}:\n{t}"),
    "headings before the text": lambda s, _: _lines(s, lambda n, t: f"{n.upper()}: {t}"),
    "one line, capital headings": lambda s, _: _lines(s, lambda n, t: f"{n.upper()}: {t}", " "),
    "one line, headings as words": lambda s, _: _lines(s, lambda n, t: f"{n.capitalize()}: {t}", " "),
    "own lines, words, no colon": lambda s, _: f"{TITLE}\n\n" + _lines(s, lambda n, t: f"{n.capitalize()}\n{t}"),
    "wrapped at 78, title, signature": _wrapped,
    "HL7 line breaks": lambda s, _: _lines(s, lambda n, t: f"{n.upper()}:\\.br\\{t}", "\\.br\\\\.br\\"),
    "Markdown": lambda s, _: _lines(s, lambda n, t: f"**{n.capitalize()}:** {t}"),
    "impression first": _impression_first,
    "other headings": lambda s, c: _lines(s, lambda n, t: f"{c.choice(VARIANTS[n])}: {t}", "\n"),
    "one typing error in each heading": lambda s, c: _lines(s, lambda n, t: f"{misspell(n.upper(), c)}: {t}", "\n"),
    "all capitals, one line": lambda s, _: _lines(s, lambda n, t: f"{n.upper()}: {t.upper()}", " "),
    "only comparison and indication headed": _two_headed,
    "no headings, blank line between": lambda s, _: "\n\n".join([TITLE, *_body(s)]),
    "no headings, one line each": lambda s, _: "\n".join(_body(s)),
    "no headings, one run": lambda s, _: " ".join(_body(s)),
}
"""Name to layout; the last ones have no heading for findings and impression."""
