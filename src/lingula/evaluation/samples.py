"""A few images for the report page: what the model says about them, what is true, and the report it would fetch."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from lingula.core.config import Config
from lingula.core.files import read_json, write_json
from lingula.core.types import Pixels, RowNumbers
from lingula.data.store_table import StoreTable
from lingula.data.volume_sheet import coronal_plane
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import EncodedLatents, ImageScores
from lingula.evaluation.cohort import select_rows
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import ImageEmbeddings, embed
from lingula.evaluation.encoder import Encoder, radiographs
from lingula.evaluation.overlays import eight_bits
from lingula.evaluation.prompts import NORMAL, RADIOGRAPH, encode_prompts, image_name, prompts_about
from lingula.evaluation.tasks.retrieve import draw_rows, group_texts, text_gallery, text_key
from lingula.evaluation.tasks.zero_shot import prompt_scores

SAMPLES = "samples.json"
COUNT = 8
TOP = 4
REFERENCE = 500
"""Most images that a score is ranked among."""
SHOWN_SIDE = 256


class Said(Config):
    """One finding that the model puts forward."""

    finding: str
    percentile: float
    """Share of reference images (validation, where there are any) that score lower, in per cent."""
    truth: int | None
    """1 present, 0 absent, None unknown."""


class Fetched(Config):
    """One report that the model fetches for an image."""

    text: str
    similarity: float
    right: bool
    """Whether it is the image's own report, word for word."""


class Sample(Config):
    """One image."""

    row_id: str
    image: str
    """PNG, base64."""
    kind: str = RADIOGRAPH
    """What it is a picture of."""
    present: list[str]
    """Findings labelled present."""
    text: str
    """The image's own report; empty where there is none."""
    said: list[Said] = Field(default_factory=list)
    fetched: list[Fetched] = Field(default_factory=list)


def collect_samples(encoder: Encoder, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> list[Sample]:
    """Draw a few images by seed (the same for every encoder) and note what the model says about them.

    Findings are ordered by how unusually high the image scores among reference images, because cosines of different
    prompts do not share a scale.

    Args:
        encoder: Any model.
        store: The images.
        config: Rows, prompts and seed.
        cache: Folder of the embedding cache.
    """
    kept = select_rows(store, config.where)
    pool = np.intersect1d(kept, store.rows(split=config.split))
    if not len(pool):
        return []
    reference = draw_rows(np.intersect1d(kept, store.rows(split="val")), REFERENCE, config.seed)
    reference = reference if len(reference) >= 20 else draw_rows(pool, REFERENCE, config.seed)
    chosen = choose_samples(store, pool, config.seed)
    gallery = text_gallery(store, pool, config)
    images = embed(encoder, store, np.unique(np.concatenate([chosen, reference, gallery])), cache)
    findings = [f for f in store.findings if f.lower() not in NORMAL]
    asked, scores = _score(encoder, store, config, findings, images.at(np.concatenate([reference, chosen])))
    said = _say(store, chosen, asked, scores[: len(reference)], scores[len(reference) :])
    fetched = _fetch(encoder, store, config, images.at(chosen).latents, chosen, gallery)
    ids = store.column("row_id")
    return [
        Sample(
            row_id=str(ids[row]),
            image=png_base64(_pixels(store, int(row))),
            present=[f for f, v in zip(findings, store.labels([row], findings)[0], strict=True) if v == 1] if findings else [],
            text=store.text(int(row), config.sections or None),
            said=said[place],
            fetched=fetched[place],
            kind=image_name(store),
        )
        for place, row in enumerate(chosen)
    ]


def choose_samples(store: StoreTable, rows: RowNumbers, seed: int) -> RowNumbers:
    """Draw rows by seed, three in four with a finding where there are so many; it does not look at any model."""
    order = np.random.default_rng(seed).permutation(rows)
    findings = [f for f in store.findings if f.lower() not in NORMAL]
    found = (store.labels(order, findings) == 1).any(axis=1) if findings else np.zeros(len(order), bool)
    some, none = order[found][: COUNT * 3 // 4], order[~found]
    rest = np.concatenate([none, order[found][len(some) :]])[: COUNT - len(some)]
    return np.sort(np.concatenate([some, rest]))


def _score(
    encoder: Encoder, store: StoreTable, config: EvaluateConfig, findings: list[str], images: ImageEmbeddings
) -> tuple[list[str], ImageScores]:
    """Score findings by a supervised model's logits, else by prompts; no findings where neither is possible."""
    if encoder.findings:
        known = [finding for finding in findings if finding in encoder.findings]
        return known, encoder.classify(images.features)[:, [encoder.findings.index(finding) for finding in known]]
    if not images.latents.shape[1] or not findings:
        return [], np.zeros((len(images.rows), 0))
    sides = encode_prompts(encoder, prompts_about(store, findings, config.prompts))
    return findings, prompt_scores(images.latents, *sides)


def _say(
    store: StoreTable, chosen: RowNumbers, findings: list[str], reference: ImageScores, scores: ImageScores
) -> list[list[Said]]:
    """Order the findings of each chosen image by the share of reference images that score lower."""
    if not findings:
        return [[] for _ in chosen]
    truth = store.labels(chosen, findings)
    share = np.array([[100 * float((reference[:, j] < row[j]).mean()) for j in range(len(findings))] for row in scores])
    said = []
    for place in range(len(chosen)):
        top = np.argsort(-share[place], kind="stable")[:TOP]
        values = [None if np.isnan(truth[place, j]) else int(truth[place, j]) for j in top]
        said.append([Said(finding=findings[j], percentile=share[place, j], truth=v) for j, v in zip(top, values, strict=True)])
    return said


def _fetch(
    encoder: Encoder, store: StoreTable, config: EvaluateConfig, latents: EncodedLatents, chosen: RowNumbers, gallery: RowNumbers
) -> list[list[Fetched]]:
    """Fetch the closest report of the gallery for each chosen image."""
    if not latents.shape[1] or not len(gallery):
        return [[] for _ in chosen]
    texts, _ = group_texts([store.text(int(row), config.sections or None) for row in gallery])
    similarity = latents @ encoder.encode_text(texts).T
    fetched = []
    for row, values in zip(chosen, similarity, strict=True):
        best = int(np.argmax(values))
        right = text_key(texts[best]) == text_key(store.text(int(row), config.sections or None))
        fetched.append([Fetched(text=texts[best], similarity=float(values[best]), right=right)])
    return fetched


def _pixels(store: StoreTable, row: int) -> Pixels:
    """Grey values to show: a radiograph as it is, of a CT volume the coronal plane in its middle."""
    if isinstance(store, VolumeStore):
        plane: Pixels = coronal_plane(store.volume(row))
        return plane
    return radiographs(store).pixels(row)


def png_base64(pixels: Pixels) -> str:
    """Encode an image as a small 8-bit PNG; 16-bit values are scaled between their 0.5th and 99.5th percentile."""
    image = Image.fromarray(np.ascontiguousarray(eight_bits(pixels)))
    image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def save_samples(folder: Path, samples: list[Sample]) -> None:
    """Write the samples beside the results."""
    write_json(folder / SAMPLES, [sample.model_dump(mode="json") for sample in samples])


def load_samples(folder: Path) -> list[Sample]:
    """Read the samples; none where there is no file."""
    path = folder / SAMPLES
    values: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return [Sample.from_values(value, str(path)) for value in values]
