"""Writes the report of a synthetic study from its facts, and keeps which sentence says what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lingula.core.wording import capital
from lingula.data.phantom.findings import FINDINGS, Fact
from lingula.data.phantom.patient import Patient
from lingula.data.phantom.phrases import (
    AMOUNTS,
    DEVICES,
    FRAMES,
    HEDGES,
    IMPRESSION,
    IMPRESSION_NORMAL,
    NEGATIONS,
    NORMAL,
    SEVERITIES,
    SYSTEMS,
)
from lingula.data.phantom.wordings import WORDS, Style
from lingula.data.study import Report

UNSAID = (0.16, 0.06, 0.02)
"""Chance that a finding is there and the report says nothing, by severity."""
OFTEN_DENIED = ("Pleural Effusion", "Pneumothorax", "Consolidation", "Edema")
"""Findings that reports rule out as a matter of routine."""
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth")


@dataclass(frozen=True)
class WrittenReport:
    """A report with the map from its sentences to the facts.

    Args:
        report: Sections `findings` and `impression`.
        sentences: The sentences of the findings section, in order.
        words: Number of a fact to the words that name it and the number of their sentence; facts left unsaid are missing.
        denied: Findings that some sentence rules out.
    """

    report: Report
    sentences: tuple[str, ...]
    words: dict[int, tuple[str, int]]
    denied: frozenset[str]


def write_report(patient: Patient, style: Style, view: str) -> WrittenReport:
    """Write the report of a study.

    Args:
        patient: The facts.
        style: `train` or `test`: two vocabularies that share no phrasing.
        view: PA, AP, lateral or CT, for the opening words.
    """
    g = np.random.default_rng((*patient.key, 9))
    said = [(index, fact) for index, fact in enumerate(patient.facts) if g.random() >= UNSAID[fact.severity]]
    statements: list[tuple[str, dict[int, str]]] = []
    for index, fact in said:
        phrase = noun_phrase(fact, style, g)
        frames = HEDGES[style] if g.random() < 0.1 else FRAMES[style]
        statements.append((frame(_pick(g, frames), phrase), {index: phrase.lstrip("+")}))
    kind = "CT " if view == "CT" else ""
    statements += [(text, {}) for text in _normal(patient, style, g, f"{kind}position")]
    negations, denied = _negations(patient, style, g)
    statements += [(text, {}) for text in negations]
    order = g.permutation(len(statements))
    statements = [statements[i] for i in order]
    if g.random() < 0.35 or not statements:
        statements.insert(0, (_pick(g, NORMAL[style][f"{kind}view"]).format(view=view), {}))
    words = {index: (phrase, number) for number, (_, named) in enumerate(statements) for index, phrase in named.items()}
    sentences = tuple(text for text, _ in statements)
    sections = {"findings": " ".join(sentences), "impression": _impression(said, style, g, view)}
    return WrittenReport(Report(sections=sections), sentences, words, denied)


def noun_phrase(fact: Fact, style: Style, g: np.random.Generator) -> str:
    """Return words that name a fact; a leading `+` marks a plural."""
    wording = WORDS[style][fact.finding]
    several = fact.side == "both" or (fact.finding == "Rib Fracture" and fact.count > 1)
    phrase = _pick(g, wording.both if several and wording.both else wording.present)
    if fact.finding == "Support Devices":
        phrase = _pick(g, DEVICES[style][fact.kind])
    severity = _pick(g, SEVERITIES[style]["amount" if fact.finding in AMOUNTS else "degree"][fact.severity])
    text = phrase.format(
        side="bilateral" if fact.side == "both" else fact.side,
        on="bilaterally" if fact.side == "both" else f"on the {fact.side}",
        lobe=fact.lobe,
        sev=severity,
        size=f"{fact.size / 10:.1f} cm" if fact.size >= 30 else f"{fact.size:.0f} mm",
        ribs=_ribs(fact),
        kind=fact.kind,
        device="",
    )
    if fact.finding == "Lung Nodule" and fact.count > 1:
        number = {2: "two", 3: "three"}[fact.count]
        text = f"+{number} nodules in the {fact.lobe}, the largest {fact.size:.0f} mm"
        if style == "test":
            text = f"+{number} {fact.lobe} nodules of up to {fact.size:.0f} mm"
    text = " ".join(text.split())
    return _article(text)


def _article(text: str) -> str:
    """Put a or an according to the sound of the next word."""
    if text.startswith("a ") and text[2] in "aeiou":
        return "an " + text[2:]
    if text.startswith("an ") and text[3] not in "aeiou":
        return "a " + text[3:]
    return text


def _ribs(fact: Fact) -> str:
    if fact.finding != "Rib Fracture":
        return ""
    first = 3 + int(fact.spot[0] * 4.99)
    last = first + fact.count - 1
    if fact.count == 1:
        return f"{fact.side} {_ORDINALS[first]}"
    joined = "and" if fact.count == 2 else "to"
    return f"{fact.side} {_ORDINALS[first]} {joined} {_ORDINALS[last]}"


def frame(template: str, phrase: str) -> str:
    """Put a noun phrase into a sentence."""
    plural, text = phrase.startswith("+"), phrase.lstrip("+")
    bare = text.split(" ", 1)[1] if text.split(" ", 1)[0] in ("a", "an", "the") else text
    return template.format(np=text, Np=capital(text), bare=bare, **{"is": "are" if plural else "is"})


def _normal(patient: Patient, style: Style, g: np.random.Generator, position: str) -> list[str]:
    texts = []
    for system, findings in SYSTEMS.items():
        if not findings & patient.findings and g.random() < 0.5:
            texts.append(_pick(g, NORMAL[style][system]))
    if g.random() < 0.25:
        texts.append(_pick(g, NORMAL[style][position]))
    return texts


def _negations(patient: Patient, style: Style, g: np.random.Generator) -> tuple[list[str], frozenset[str]]:
    absent = [f for f in FINDINGS if f not in patient.findings and g.random() < (0.5 if f in OFTEN_DENIED else 0.09)]
    absent = [absent[i] for i in g.permutation(len(absent))]
    denied = frozenset(absent)
    texts = []
    while absent:
        template = _pick(g, [t for t in NEGATIONS[style] if t.count("{") <= len(absent)])
        names = [_pick(g, WORDS[style][absent.pop()].absent) for _ in range(template.count("{"))]
        texts.append(template.format(**dict(zip("abc", names, strict=False))))
    return texts, denied


def _impression(said: list[tuple[int, Fact]], style: Style, g: np.random.Generator, view: str) -> str:
    notable = sorted((fact for _, fact in said), key=lambda fact: -fact.severity)[: int(g.integers(1, 4))]
    if not notable:
        normal = _pick(g, IMPRESSION_NORMAL[style])
        return normal.replace("radiograph", "CT") if view == "CT" else normal
    return " ".join(frame(_pick(g, IMPRESSION[style]), noun_phrase(fact, style, g)) for fact in notable)


def _pick(g: np.random.Generator, options: tuple[str, ...] | list[str]) -> str:
    return options[int(g.integers(len(options)))]
