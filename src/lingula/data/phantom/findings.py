"""The vocabulary of findings, and which of them a synthetic patient has: the facts that image and report both follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lingula.data.phantom.anatomy import Anatomy

FINDINGS: tuple[str, ...] = (
    "Aortic Calcification",
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged Cardiomediastinum",
    "Fibrosis",
    "Hiatal Hernia",
    "Lung Mass",
    "Lung Nodule",
    "Lymphadenopathy",
    "Pleural Effusion",
    "Pleural Thickening",
    "Pneumothorax",
    "Rib Fracture",
    "Support Devices",
)
"""The 17 findings of the phantom, in the words of CheXpert and CT-RATE."""

CHRONIC = frozenset({"Aortic Calcification", "Emphysema", "Fibrosis", "Hiatal Hernia", "Pleural Thickening"})
"""Findings that a patient keeps from one study to the next."""

Where = Literal["right", "left", "both", "middle"]
LOBES: dict[str, tuple[str, ...]] = {
    "right": ("right upper lobe", "right middle lobe", "right lower lobe"),
    "left": ("left upper lobe", "lingula", "left lower lobe"),
}


@dataclass(frozen=True)
class Fact:
    """One finding of one study.

    Args:
        finding: One of `FINDINGS`.
        side: The patient's side; `middle` for what lies in the mediastinum.
        lobe: Lobe or zone, empty where it does not apply.
        severity: 0 small or mild, 1 moderate, 2 large or severe.
        size: Main extent, mm.
        kind: Variety, e.g. the kind of device.
        count: How many (nodules, ribs).
        spot: Three numbers in 0..1 that place it within its lobe or along its course.
        seed: Seed of its fine structure.
    """

    finding: str
    side: Where
    lobe: str
    severity: int
    size: float
    kind: str
    count: int
    spot: tuple[float, float, float]
    seed: int

    @property
    def sides(self) -> tuple[Literal["right", "left"], ...]:
        """The sides it lies on; empty for the middle."""
        return ("right", "left") if self.side == "both" else () if self.side == "middle" else (self.side,)


@dataclass(frozen=True)
class Condition:
    """Why findings come together: the patient's background."""

    heart_failure: bool
    smoker_lung: bool
    tumour: bool
    injured: bool
    bedside: bool


def sample_condition(patient: np.random.Generator, study: np.random.Generator) -> Condition:
    """Draw the background of a study; heart failure, smoking and tumour belong to the patient."""
    failure, smoker, tumour = patient.random(3)
    injured, bedside = study.random(2)
    return Condition(failure < 0.2, smoker < 0.16, tumour < 0.12, injured < 0.08, bedside < 0.25)


def probabilities(anatomy: Anatomy, condition: Condition) -> dict[str, float]:
    """Return the chance of each finding, given who the patient is."""
    c = condition
    old = float(np.clip((anatomy.age - 40) / 40, 0, 1.2))
    return {
        "Aortic Calcification": 0.02 + 0.26 * old,
        "Atelectasis": 0.13 + 0.17 * c.bedside + 0.1 * c.tumour,
        "Cardiomegaly": 0.62 if c.heart_failure else 0.1 + 0.1 * old,
        "Consolidation": 0.12 + 0.12 * c.bedside,
        "Edema": 0.42 if c.heart_failure else 0.03 + 0.05 * c.bedside,
        "Emphysema": 0.55 if c.smoker_lung else 0.03,
        "Enlarged Cardiomediastinum": 0.05 + 0.1 * c.tumour + 0.03 * c.bedside,
        "Fibrosis": 0.06 + 0.06 * c.smoker_lung,
        "Hiatal Hernia": 0.03 + 0.06 * old,
        "Lung Mass": 0.32 if c.tumour else 0.03,
        "Lung Nodule": 0.3 if c.tumour else 0.1 + 0.06 * c.smoker_lung,
        "Lymphadenopathy": 0.32 if c.tumour else 0.04,
        "Pleural Effusion": 0.15 + 0.33 * c.heart_failure + 0.2 * c.tumour + 0.1 * c.bedside,
        "Pleural Thickening": 0.06 + 0.05 * old,
        "Pneumothorax": 0.045 + 0.22 * c.injured + 0.06 * c.smoker_lung,
        "Rib Fracture": 0.5 if c.injured else 0.03 + 0.02 * old,
        "Support Devices": 0.55 if c.bedside else 0.12 + 0.15 * c.heart_failure,
    }


def sample_facts(
    anatomy: Anatomy, condition: Condition, patient: np.random.Generator, study: np.random.Generator
) -> tuple[Fact, ...]:
    """Draw the findings of one study: chronic ones from the patient's generator, the others from the study's."""
    chance = probabilities(anatomy, condition)
    facts: list[Fact] = []
    for finding in FINDINGS:
        generator = patient if finding in CHRONIC else study
        present, seed = generator.random() < chance[finding], int(generator.integers(2**31))
        if present:
            facts.append(_describe(finding, condition, np.random.default_rng(seed), seed))
    return tuple(_compatible(facts))


def _describe(finding: str, condition: Condition, g: np.random.Generator, seed: int) -> Fact:
    severity = int(g.choice(3, p=(0.25, 0.4, 0.35)))
    side: Where = ("right", "left", "both")[int(g.choice(3, p=_SIDES.get(finding, (0.5, 0.5, 0.0))))]
    if finding in _MIDDLE:
        side = "middle"
    lobe = str(g.choice(LOBES[side], p=_LOBE_CHANCE[finding])) if finding in _LOBE_CHANCE and side in LOBES else ""
    low, high = _SIZES.get(finding, ((0, 0),) * 3)[severity]
    kind = _kind(finding, condition, g)
    if finding == "Support Devices":
        side = _device_side(kind, g)
    count = 1
    if finding == "Lung Nodule":
        count = int(g.choice((1, 2, 3), p=(0.4, 0.3, 0.3)))
    elif finding == "Rib Fracture":
        count = 2 + severity + int(g.integers(2))
    spot = (float(g.random()), float(g.random()), float(g.random()))
    return Fact(finding, side, lobe, severity, float(g.uniform(low, high)), kind, count, spot, seed)


def _device_side(kind: str, g: np.random.Generator) -> Where:
    if kind in ("endotracheal tube", "nasogastric tube"):
        return "middle"
    right = {"pacemaker": 0.15, "central venous catheter": 0.75}.get(kind, 0.5)
    return "right" if g.random() < right else "left"


def _kind(finding: str, condition: Condition, g: np.random.Generator) -> str:
    if finding == "Support Devices":
        kinds = ("pacemaker", "central venous catheter", "endotracheal tube", "nasogastric tube", "chest tube")
        chance = (0.1, 0.3, 0.3, 0.2, 0.1) if condition.bedside else (0.55, 0.35, 0.0, 0.04, 0.06)
        return str(g.choice(kinds, p=chance))
    if finding == "Atelectasis":
        return str(g.choice(("linear", "basal"), p=(0.5, 0.5)))
    if finding == "Pleural Thickening":
        return str(g.choice(("apical", "lateral"), p=(0.5, 0.5)))
    return ""


def _compatible(facts: list[Fact]) -> list[Fact]:
    """Move a pneumothorax away from a large effusion, so that both can be told apart."""
    effusion = next((fact for fact in facts if fact.finding == "Pleural Effusion"), None)
    result = []
    for fact in facts:
        if fact.finding == "Pneumothorax" and effusion is not None:
            if effusion.side == "both":
                continue
            fact = Fact(**{**fact.__dict__, "side": "left" if effusion.side == "right" else "right"})
        result.append(fact)
    return result


_MIDDLE = frozenset({"Aortic Calcification", "Cardiomegaly", "Enlarged Cardiomediastinum", "Hiatal Hernia"})
_SIDES: dict[str, tuple[float, float, float]] = {
    "Edema": (0.0, 0.0, 1.0),
    "Emphysema": (0.0, 0.0, 1.0),
    "Fibrosis": (0.12, 0.12, 0.76),
    "Pleural Effusion": (0.36, 0.29, 0.35),
    "Lymphadenopathy": (0.4, 0.3, 0.3),
    "Pleural Thickening": (0.4, 0.4, 0.2),
    "Consolidation": (0.5, 0.5, 0.0),
}
_LOBE_CHANCE: dict[str, tuple[float, float, float]] = {
    "Consolidation": (0.35, 0.25, 0.4),
    "Lung Mass": (0.55, 0.1, 0.35),
    "Lung Nodule": (0.5, 0.15, 0.35),
}
_SIZES: dict[str, tuple[tuple[float, float], ...]] = {
    "Atelectasis": ((55, 70), (65, 90), (85, 112)),
    "Cardiomegaly": ((1.1, 1.17), (1.17, 1.27), (1.27, 1.42)),
    "Consolidation": ((26, 33), (33, 44), (44, 60)),
    "Enlarged Cardiomediastinum": ((9, 13), (13, 18), (18, 25)),
    "Hiatal Hernia": ((24, 28), (28, 36), (36, 46)),
    "Lung Mass": ((38, 46), (46, 60), (60, 80)),
    "Lung Nodule": ((14, 18), (18, 24), (24, 30)),
    "Lymphadenopathy": ((28, 34), (34, 42), (42, 52)),
    "Pleural Effusion": ((18, 34), (38, 66), (70, 120)),
    "Pleural Thickening": ((8, 11), (11, 16), (16, 23)),
    "Pneumothorax": ((14, 24), (24, 40), (40, 65)),
}
"""Extent by severity: mm, but for Cardiomegaly the width of the heart relative to an average one."""
