"""Cutting a report into its sections: by its headings, else by its paragraphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lingula.data.text.headings import LONGEST, STRONG, section_of, section_of_typo
from lingula.data.text.normalise import clean_text

TEXT = "text"
"""Name of free text without sections."""
SEPARATOR = "\n\n"
"""What stands between two sections that are joined to one text: a blank line, so that no sentence reaches over it."""

_COLON = re.compile(r":(?![/\d])|:(?=\d{1,2}[.)]\s)")
_LINE = re.compile(r"[^\n]+")
_MARKS = " \t*_#=>[]|\u2022-"
_ASIDE = re.compile(r"\s*\([^()]{1,40}\)\s*$")
_SHOUTED = re.compile(
    r"[ \t*_#]*([A-Z][A-Z/&() ]{3,44}?)[*_]{0,2}(?:[ \t]+[-\u2013\u2014][ \t]+|[ \t]{2,}|\t|[ \t](?=1[.)][ \t]))(?=\S)"
)
_SIGNED = re.compile(
    r"[ \t]*(?:final report )?(?:electronically )?(?:signed|dictated|reported|transcribed|approved) by\b:?", re.IGNORECASE
)
_BLANK_LINE = re.compile(r"\n(?:[ \t]*\n)+")
_ENDS = re.compile(r"[.!?][\"')\]]*$")
_GAP = re.compile(r"[.!?;)\]*_][\"')]*\s*$|\s{2,}$|^\s*$")
_WORD = re.compile(r"\S+")
HEADING_WIDTH = 64
"""Longest heading in characters."""


@dataclass(frozen=True)
class Section:
    """One piece of a report.

    Args:
        name: Lower-case name (`findings`, `impression`, ...); `text` where nothing tells what it is, `header` before the first
            heading.
        heading: The heading as written, with what closes it; "" where the name was inferred.
        text: What follows it, as written, without white space around it.
    """

    name: str
    heading: str
    text: str


@dataclass(frozen=True)
class _Heading:
    name: str
    start: int
    end: int


def parse_report(text: str) -> list[Section]:
    r"""Cut a report into sections, in the order in which they stand; nothing but white space is lost.

    Headings may stand on a line of their own or before their text, in capitals or not, with a typing error. Where neither
    findings nor impression has a heading, the last paragraph is the impression and those before it are the findings; one
    paragraph alone is `text`, as nothing tells which of the two it is. Without findings, sentences before the first heading are
    taken for them.

    >>> [(part.name, part.text) for part in parse_report("FINDINGS: Clear lungs.\nIMPRESSION: Normal.")]
    [('findings', 'Clear lungs.'), ('impression', 'Normal.')]
    """
    clean = clean_text(text)
    found = _headings(clean)
    sections = []
    if lead := clean[: found[0].start if found else len(clean)].strip():
        sections.append(Section("header" if found else TEXT, "", lead))
    ends = [*(heading.start for heading in found[1:]), len(clean)]
    for heading, end in zip(found, ends, strict=False):
        body = clean[heading.end : end].strip()
        sections.append(Section(heading.name, clean[heading.start : heading.end].strip(), body))
    names = {part.name for part in sections if part.text}
    if "findings" not in names and "impression" not in names:
        return _last_paragraph(sections)
    return _lead_as_findings(sections) if "findings" not in names else sections


def parse_sections(text: str) -> dict[str, str]:
    """Return section name to text, in reading order; parts of one name follow each other, a blank line between them.

    Args:
        text: The report as exported; see `parse_report` for what is understood.
    """
    joined: dict[str, str] = {}
    for part in parse_report(text):
        if part.text:
            joined[part.name] = f"{joined[part.name]}{SEPARATOR}{part.text}" if part.name in joined else part.text
    return joined


def _headings(text: str) -> list[_Heading]:
    """Find every heading, in order: before a colon, alone on a line, or shouted at the start of one."""
    found: dict[int, _Heading] = {}
    shouting = text.isupper()
    for line in _LINE.finditer(text):
        first = _first_of_line(line.group(), line.start())
        if first:
            found.setdefault(first.start, first)
        for heading in _before_colons(text, line.start(), line.end(), shouting):
            if not first or heading.start >= first.end:
                found.setdefault(heading.start, heading)
    return [found[start] for start in sorted(found)]


def _first_of_line(line: str, offset: int) -> _Heading | None:
    """Return the heading that a line without colon begins with: all of it, or a shouted phrase."""
    bare = line.strip(_MARKS)
    if len(bare) <= HEADING_WIDTH and bare and ":" not in bare:
        name = section_of(bare.rstrip("."))
        if name and (bare.isupper() or bare.lower() in STRONG or (name in ("findings", "impression") and bare[0].isupper())):
            return _Heading(name, offset, offset + len(line))
    if signed := _SIGNED.match(line):
        return _Heading("signature", offset, offset + signed.end())
    shouted = _SHOUTED.match(line)
    name = section_of(shouted.group(1)) if shouted else ""
    return _Heading(name, offset, offset + shouted.end()) if shouted and name else None


def _before_colons(text: str, start: int, end: int, shouting: bool) -> Iterator[_Heading]:
    """Yield the headings of a line that a colon closes."""
    since = start
    for colon in _COLON.finditer(text, start, end):
        window = text[max(since, colon.start() - HEADING_WIDTH) : colon.start()]
        at_start = since == start and colon.start() - HEADING_WIDTH <= start
        heading = _read_heading(window, at_start, shouting)
        if heading:
            name, length = heading
            closing = colon.end()
            while closing < end and text[closing] in "*_":
                closing += 1
            yield _Heading(name, colon.start() - length, closing)
            since = closing


def _read_heading(window: str, at_start: bool, shouting: bool) -> tuple[str, int] | None:
    """Return the section and the heading's length in characters, if what stands before a colon ends in a heading.

    Args:
        window: Text between the last heading, or the start of the line, and the colon.
        at_start: Whether the window begins with the line.
        shouting: Whether the whole report is in capitals, so that capitals mean nothing.
    """
    if at_start:
        bare = _ASIDE.sub("", window).strip(_MARKS)
        name = section_of(bare) or section_of_typo(bare)
        if name:
            return name, len(window)
    words = list(_WORD.finditer(window))
    for count in range(min(LONGEST, len(words)), 0, -1):
        begin = words[-count].start()
        phrase = window[begin:].strip(_MARKS)
        name = section_of(phrase)
        if name and (begin or at_start or window[:1].isspace()) and _may_interrupt(phrase, window[:begin], shouting):
            return name, len(window) - begin
    return None


def _may_interrupt(phrase: str, before: str, shouting: bool) -> bool:
    """Whether a heading in the middle of a line is one, and not a part of its sentence."""
    if not phrase[0].isupper():
        return False
    strong = phrase.lower() in STRONG
    if _GAP.search(before):
        return strong or (phrase.isupper() and len(phrase) > 3)
    if phrase.isupper():
        return strong or (not shouting and len(phrase) > 3)
    return phrase in ("Findings", "Impression")


def _paragraphs(text: str) -> list[str]:
    """Split at blank lines; without any, at line ends, if every line is whole sentences (so none is merely wrapped)."""
    parts = [part.strip() for part in _BLANK_LINE.split(text)]
    parts = [part for part in parts if part]
    if len(parts) == 1:
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and all(_ENDS.search(line) for line in lines):
            return lines
    return parts


def _is_title(paragraph: str) -> bool:
    """Whether a paragraph names the examination instead of saying anything about it."""
    return "\n" not in paragraph and len(paragraph) <= 100 and not re.search(r"[.!?](?:\s|$)", paragraph)


def _last_paragraph(sections: list[Section]) -> list[Section]:
    """Name the paragraphs of the last section that says something, where nothing is headed findings or impression."""
    last = next((i for i in range(len(sections) - 1, -1, -1) if sections[i].name != "signature"), None)
    if last is None:
        return sections
    part = sections[last]
    headed = bool(part.heading)
    paragraphs = _paragraphs(part.text)
    kept, rest = (paragraphs[:1], paragraphs[1:]) if headed else ([], paragraphs)
    while not headed and len(rest) > 1 and _is_title(rest[0]):
        kept.append(rest.pop(0))
    if not rest or (not headed and not kept and len(rest) == 1):
        return sections
    name, heading = (part.name, part.heading) if headed else ("header", "")
    before = [Section(name, heading, SEPARATOR.join(kept))] if kept else []
    named = _named(TEXT, rest) if len(rest) == 1 else [*_named("findings", rest[:-1]), *_named("impression", rest[-1:])]
    return [*sections[:last], *before, *named, *sections[last + 1 :]]


def _named(name: str, paragraphs: list[str]) -> list[Section]:
    return [Section(name, "", SEPARATOR.join(paragraphs))] if paragraphs else []


def _lead_as_findings(sections: list[Section]) -> list[Section]:
    """Take sentences before the first heading as findings, where an impression follows and no findings are headed."""
    if sections[0].name != "header" or sections[0].heading:
        return sections
    paragraphs = _paragraphs(sections[0].text)
    titles = []
    while paragraphs and _is_title(paragraphs[0]):
        titles.append(paragraphs.pop(0))
    return [*_named("header", titles), *_named("findings", paragraphs), *sections[1:]]
