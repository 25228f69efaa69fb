"""Retrieval: text to image, image to text, image to image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.data.text.views import text_views
from lingula.evaluation.arrays import EncodedLatents, Similarity
from lingula.evaluation.cohort import select_rows
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import embed
from lingula.evaluation.encoder import Encoder
from lingula.evaluation.prompts import NORMAL
from lingula.evaluation.ranking import (
    Ranked,
    by_relevance,
    chance_by_relevance,
    chance_of_first,
    first_right,
    ranked_columns,
    ranked_rows,
)
from lingula.evaluation.result import TaskResult
from lingula.evaluation.tasks.common import make_result

TEXT_TO_IMAGE, IMAGE_TO_TEXT, IMAGE_TO_IMAGE = "text to image", "image to text", "image to image"
QUERIES_AT_ONCE = 512


def run(encoder: Encoder, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Search a gallery of studies by text and by image.

    Text and image find each other by cosine; reports with the same words are one item, so any image that carries them is a
    right answer. Images find images that share a finding, one image of each study: several views or reconstructions of one would
    count as several answers.

    Args:
        encoder: Any model; without a text tower only image to image is run, on features.
        store: The images and texts.
        config: The task's numbers.
        cache: Folder of the embedding cache.

    Raises:
        UserError: Fewer than two studies can be searched.
    """
    kept = select_rows(store, config.where)
    split = np.intersect1d(kept, store.rows(split=config.split))
    pairs = text_gallery(store, split, config)
    images = draw_rows(first_of_study(store, split), config.gallery, config.seed)
    embedded = embed(encoder, store, np.union1d(pairs, images), cache)
    has_text = embedded.latents.shape[1] > 0
    notes: list[str] = []
    directions: dict[str, Ranked] = {}
    if has_text and len(pairs) >= 2:
        texts = [store.text(int(row), config.sections or None) for row in pairs]
        distinct, group = group_texts(texts)
        text_latents = encoder.encode_text([text_views(text, config.text_view)[0] for text in distinct])
        latents = embedded.at(pairs).latents
        directions[TEXT_TO_IMAGE] = _cross(store, pairs, text_latents[group], latents, group, group, config)
        directions[IMAGE_TO_TEXT] = _cross(store, pairs, latents, text_latents, group, np.arange(len(distinct)), config)
        notes.append(f"{len(pairs)} studies with text, {len(distinct)} distinct reports; the bootstrap keeps the gallery.")
    else:
        notes.append(
            f"Text was not searched: {'fewer than two studies with text' if has_text else 'the model has no text tower'}."
        )
    similar = _image_to_image(store, images, embedded.at(images).latents if has_text else embedded.at(images).features, config)
    if similar is not None:
        directions[IMAGE_TO_IMAGE] = similar
        notes.append(
            f"Image to image: {len(similar.row_ids)} of {len(images)} studies, with one image each, share a finding with another."
        )
    if not directions:
        raise UserError(f"nothing to retrieve in the {config.split} split", "Choose rows with text or labels.")
    rows = [row for name, ranked in directions.items() for row in ranked_rows(ranked, config.bootstrap, config.seed, name)]
    protocol = {
        "gallery": len(pairs),
        "gallery of images": len(images),
        "distinct reports only": config.distinct_reports,
        "text": config.text_view,
        "k": list(config.k),
        "space": "latents" if has_text else "features",
    }
    result = make_result("retrieve", encoder, store, config, rows, protocol, notes)
    return result.with_predictions(pa.concat_tables([pa.table(ranked_columns(r, name)) for name, r in directions.items()]))


def text_key(text: str) -> str:
    """Return what makes two reports the same: their words, whatever the case and the spacing."""
    return " ".join(text.casefold().split())


def group_texts(texts: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the distinct texts, in order of appearance, and the number of each text among them."""
    numbers: dict[str, int] = {}
    group = np.array([numbers.setdefault(text_key(text), len(numbers)) for text in texts])
    first = {int(g): text for g, text in zip(group[::-1], texts[::-1], strict=True)}
    return [first[number] for number in range(len(numbers))], group


def draw_rows(rows: RowNumbers, most: int, seed: int) -> RowNumbers:
    """Draw at most `most` rows by seed (0: all), ascending."""
    if most == 0 or len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[:most])


def first_of_study(store: StoreTable, rows: RowNumbers) -> RowNumbers:
    """Return the first of the rows of each study, ascending."""
    studies, first = store.column("study_id"), dict[str, int]()
    for row in rows:
        first.setdefault(str(studies[row]), int(row))
    return np.array(sorted(first.values()), dtype=int)


def text_gallery(store: StoreTable, rows: RowNumbers, config: EvaluateConfig) -> RowNumbers:
    """Choose the gallery: the first image with text of each study, each report only once where asked, drawn by seed."""
    chosen = first_of_study(store, np.intersect1d(rows, store.rows(with_text=True, sections=config.sections or None)))
    if config.distinct_reports and len(chosen):
        _, group = group_texts([store.text(int(row), config.sections or None) for row in chosen])
        chosen = chosen[np.unique(group, return_index=True)[1]]
    return np.sort(draw_rows(chosen, config.gallery, config.seed))


def likeness(queries: EncodedLatents, items: EncodedLatents) -> Similarity:
    """Return cosines to six decimals, so that equal latents tie instead of being ordered by rounding errors."""
    result: Similarity = np.round(queries.astype(np.float64) @ items.T.astype(np.float64), 6)
    return result


def _cross(
    store: StoreTable,
    rows: RowNumbers,
    queries: EncodedLatents,
    items: EncodedLatents,
    query_group: np.ndarray,
    item_group: np.ndarray,
    config: EvaluateConfig,
) -> Ranked:
    """Rank items for each query; an item is right where it carries the query's report."""
    parts = []
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = slice(start, start + QUERIES_AT_ONCE)
        parts.append(first_right(likeness(queries[block], items), query_group[block, None] == item_group[None, :], config.k))
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    copies = np.bincount(item_group)[query_group]
    ids, patients = store.column("row_id"), store.column("patient_id")
    chances = chance_of_first(copies, len(items), config.k)
    return Ranked([str(ids[r]) for r in rows], [str(patients[r]) for r in rows], values, chances)


def _image_to_image(store: StoreTable, rows: RowNumbers, vectors: EncodedLatents, config: EvaluateConfig) -> Ranked | None:
    """Rank images by likeness; right are others, all of other studies, that share a finding. None where no two share one."""
    findings = [f for f in (config.label or store.findings) if f.lower() not in NORMAL]
    if not findings or len(rows) < 2:
        return None
    present = (store.labels(rows, findings) == 1).astype(np.float32)
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    order = np.random.default_rng(config.seed).permutation(len(rows))
    parts, kept, right, available = [], [], [], []
    for start in range(0, len(rows), QUERIES_AT_ONCE):
        block = np.arange(start, min(start + QUERIES_AT_ONCE, len(rows)))
        allowed = block[:, None] != np.arange(len(rows))[None, :]
        relevant = (present[block] @ present.T > 0) & allowed
        usable = relevant.any(axis=1)
        if not usable.any():
            continue
        similarity = likeness(vectors[block[usable]], vectors)
        parts.append(by_relevance(similarity, relevant[usable], allowed[usable], config.k, order))
        kept.append(block[usable])
        right.append(relevant[usable].sum(axis=1))
        available.append(allowed[usable].sum(axis=1))
    if not parts:
        return None
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    chances = chance_by_relevance(np.concatenate(right).astype(float), np.concatenate(available).astype(float), config.k)
    ids, patients = store.column("row_id"), store.column("patient_id")
    queries = rows[np.concatenate(kept)]
    return Ranked([str(ids[r]) for r in queries], [str(patients[r]) for r in queries], values, chances)
