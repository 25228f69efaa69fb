"""Prompts: what a finding's presence and absence are called, and their latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from lingula.core.config import Config, read_yaml
from lingula.core.errors import UserError, nearest
from lingula.core.wording import capital
from lingula.data.store_table import StoreTable
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import FindingLatents, Latent
from lingula.evaluation.cohort import is_phantom
from lingula.evaluation.encoder import Encoder

POSITIVE = (
    "{finding}",
    "there is {finding}",
    "{finding} is present",
    "findings consistent with {finding}",
    "evidence of {finding}",
)
NEGATIVE = ("no {finding}", "there is no {finding}", "no evidence of {finding}", "{finding} is absent", "without {finding}")
NORMAL = {"no finding", "normal"}
RADIOGRAPH, CT = "chest radiograph", "chest CT"
"""What a normal image is called."""
REPORT = "{statement}\n\n{statement}"
"""Findings and impression that say one thing, in the form of a store's texts: a blank line between sections."""


class Prompts(Config):
    """The phrasings of one finding; each side is an ensemble."""

    positive: tuple[str, ...] = Field(min_length=1)
    negative: tuple[str, ...] = Field(min_length=1)


def default_prompts(finding: str, image: str = RADIOGRAPH) -> Prompts:
    """Build prompts for any finding from templates; "No Finding" is asked for as a normal image (`RADIOGRAPH` or `CT`)."""
    if finding.lower() in NORMAL:
        return Prompts(
            positive=(f"normal {image}", "no acute cardiopulmonary abnormality", "the lungs are clear"),
            negative=(f"abnormal {image}", "there is an abnormality", "acute cardiopulmonary abnormality"),
        )
    words = finding.replace("_", " ").split()
    name = " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
    return Prompts(
        positive=tuple(template.format(finding=name) for template in POSITIVE),
        negative=tuple(template.format(finding=name) for template in NEGATIVE),
    )


def in_report_style(prompts: Prompts) -> Prompts:
    r"""Return each phrasing as the only statement of a report.

    >>> in_report_style(Prompts(positive=("edema",), negative=("no edema.",))).negative
    ('No edema.\n\nNo edema.',)
    """
    sides = (prompts.positive, prompts.negative)
    positive, negative = (tuple(REPORT.format(statement=_sentence(text)) for text in side) for side in sides)
    return Prompts(positive=positive, negative=negative)


def _sentence(text: str) -> str:
    text = text.strip()
    return capital(text) + ("" if text.endswith(".") else ".")


def read_prompts(path: Path, known: Sequence[str]) -> dict[str, Prompts]:
    """Read a prompt file: YAML, finding to {positive: [...], negative: [...]}.

    Args:
        path: The file.
        known: The findings of the store.

    Raises:
        UserError: The file is missing or malformed, or names a finding that the store does not have.
    """
    result = {}
    for finding, values in read_yaml(path).items():
        if finding not in known:
            remedy = nearest(str(finding), known) or f"The store knows: {', '.join(known)}."
            raise UserError(f"{path}: unknown finding '{finding}'", remedy)
        if not isinstance(values, dict):
            raise UserError(f"{path}: '{finding}' needs two lists", "Write positive: [...] and negative: [...] below it.")
        result[str(finding)] = Prompts.from_values(values, f"{path}: {finding}")
    return result


def choose_prompts(
    findings: Sequence[str],
    known: Sequence[str],
    path: Path | None = None,
    own: Mapping[str, Prompts] | None = None,
    image: str = RADIOGRAPH,
) -> dict[str, Prompts]:
    """Choose prompts per finding: from the file, else the store's own, else from templates.

    Args:
        findings: Findings to ask for.
        known: The findings of the store.
        path: A prompt file.
        own: Prompts that belong to the store (the phantom has held-out phrasings).
        image: What a normal image is called.

    Raises:
        UserError: A finding is not known to the store, or the file is malformed.
    """
    for finding in findings:
        if finding not in known:
            remedy = nearest(finding, known) or f"The store knows: {', '.join(known)}."
            raise UserError(f"unknown finding '{finding}'", remedy)
    written = read_prompts(path, known) if path else {}
    own = own or {}
    return {finding: written.get(finding) or own.get(finding) or default_prompts(finding, image) for finding in findings}


def image_name(store: StoreTable) -> str:
    """What the images of a store are called."""
    return CT if isinstance(store, VolumeStore) else RADIOGRAPH


def prompts_about(
    store: StoreTable, findings: Sequence[str], path: Path | None = None, known: Sequence[str] | None = None
) -> dict[str, Prompts]:
    """Choose prompts for the images of a store: radiographs or CT, the phantom's in phrasings of its own.

    Args:
        store: The images.
        findings: Findings to ask for.
        path: A prompt file.
        known: What may be asked for; None: the findings of the store.

    Raises:
        UserError: As in `choose_prompts`.
    """
    image = image_name(store)
    own = phantom_prompts(image) if is_phantom(store.name) else None
    return choose_prompts(findings, store.findings if known is None else known, path, own, image)


def phantom_prompts(image: str = RADIOGRAPH) -> dict[str, Prompts]:
    """Return the phantom's prompts, whose phrasings no training report uses, about radiographs or CT."""
    from lingula.data.phantom.prompts import phrasings

    found = phrasings(ct=image == CT).items()
    return {finding: Prompts(positive=tuple(value["positive"]), negative=tuple(value["negative"])) for finding, value in found}


def encode_prompts(encoder: Encoder, prompts: Mapping[str, Prompts]) -> tuple[FindingLatents, FindingLatents]:
    """Return the latents of presence and of absence: the mean of each ensemble's normalised latents, normalised again."""
    texts = list(dict.fromkeys(text for prompt in prompts.values() for text in (*prompt.positive, *prompt.negative)))
    latents = dict(zip(texts, encoder.encode_text(texts), strict=True))
    sides = ([ensemble([latents[t] for t in getattr(p, side)]) for p in prompts.values()] for side in ("positive", "negative"))
    positive, negative = (np.stack(side) for side in sides)
    return positive, negative


def ensemble(latents: Sequence[Latent]) -> Latent:
    """Average normalised latents and normalise the mean."""
    stacked = np.stack(latents)
    stacked = stacked / np.maximum(np.linalg.norm(stacked, axis=1, keepdims=True), 1e-12)
    mean: Latent = stacked.mean(axis=0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)
