"""One examination of one synthetic patient, and the shape that its findings give the chest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lingula.data.phantom.anatomy import Anatomy, Shape, Side, sample_anatomy
from lingula.data.phantom.findings import Fact, sample_condition, sample_facts

SPLIT_CODES = {"train": 1, "val": 2, "test": 3}


@dataclass(frozen=True)
class Patient:
    """A patient at one examination: everything that image, volume and report follow.

    Args:
        anatomy: The healthy anatomy.
        facts: The findings of this examination.
        breath: Depth of inspiration: shift of the diaphragm, mm, negative is deep.
        bedside: Whether the frontal radiograph was taken AP at the bedside.
        key: Numbers that key everything else that is random about the examination.
    """

    anatomy: Anatomy
    facts: tuple[Fact, ...]
    breath: float
    bedside: bool
    key: tuple[int, ...]

    @property
    def findings(self) -> frozenset[str]:
        """The findings that are present."""
        return frozenset(fact.finding for fact in self.facts)

    def healthy(self) -> Patient:
        """Return the twin without any finding; everything else is the same."""
        return replace(self, facts=())

    def fact(self, finding: str) -> Fact | None:
        """Return the fact about a finding, or None where it is absent."""
        return next((fact for fact in self.facts if fact.finding == finding), None)


def sample_patient(seed: int, split: str, patient: int, study: int) -> Patient:
    """Draw one examination; the same four arguments always give the same patient.

    Args:
        seed: The phantom's seed.
        split: train, val or test.
        patient: Number of the patient within the split.
        study: Number of the examination of this patient.
    """
    code = SPLIT_CODES[split]
    anatomy = sample_anatomy(np.random.default_rng((seed, code, patient)))
    chronic = np.random.default_rng((seed, code, patient, 1))
    acute = np.random.default_rng((seed, code, patient, 2, study))
    condition = sample_condition(chronic, acute)
    facts = sample_facts(anatomy, condition, chronic, acute)
    breath = float(np.clip(acute.normal(5 if condition.bedside else 0, 9), -16, 24))
    return Patient(anatomy, facts, breath, condition.bedside, (seed, code, patient, study))


def shape_of(patient: Patient) -> Shape:
    """Return the surfaces of the chest, as the findings leave them."""
    a = patient.anatomy
    dome: dict[Side, float] = {"right": a.dome_right + patient.breath, "left": a.dome_left + patient.breath}
    curve, attenuation, gain = 1.0, a.lung_attenuation * (1 + 0.008 * patient.breath), a.vessel_gain
    heart = float(np.clip(a.heart_width, 0.82, 1.09))
    for fact in patient.facts:
        if fact.finding == "Cardiomegaly":
            heart = fact.size
        elif fact.finding == "Emphysema":
            curve *= (0.78, 0.6, 0.42)[fact.severity]
            attenuation *= (0.95, 0.9, 0.85)[fact.severity]
            gain *= (0.95, 0.9, 0.84)[fact.severity]
            dome = {side: height - (4, 8, 13)[fact.severity] for side, height in dome.items()}
        elif fact.finding == "Edema":
            gain *= (1.08, 1.15, 1.22)[fact.severity]
        elif fact.finding == "Atelectasis" and fact.kind == "basal":
            dome = {side: height + (8, 13, 20)[fact.severity] * (side in fact.sides) for side, height in dome.items()}
        elif fact.finding == "Fibrosis":
            dome = {side: height + (3, 6, 10)[fact.severity] * (side in fact.sides) for side, height in dome.items()}
    return Shape(a, dome, curve, heart, attenuation, gain)


def healthy_heart(patient: Patient) -> float:
    """Return the width of the heart without cardiomegaly, relative to an average one."""
    return float(np.clip(patient.anatomy.heart_width, 0.82, 1.09))
