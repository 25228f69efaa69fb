"""Geometry: the shape of the latent space that a model leaves behind, M-FLAG's own subject."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.store_table import StoreTable
from lingula.data.text.views import text_views
from lingula.evaluation import geometry as shape
from lingula.evaluation.arrays import Array
from lingula.evaluation.cohort import select_rows, targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.embeddings import embed
from lingula.evaluation.encoder import Encoder
from lingula.evaluation.prompts import NORMAL
from lingula.evaluation.result import ResultRow, TaskResult, number
from lingula.evaluation.scored import MACRO
from lingula.evaluation.tasks.common import make_result
from lingula.evaluation.tasks.retrieve import draw_rows

FEATURES, IMAGES, TEXTS, PAIRS = "image features", "image latents", "text latents", "pairs"
FEW_PER_FEATURE = 2


def run(encoder: Encoder, store: StoreTable, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Measure the features before projection, the latents of images and texts, and how close pairs are.

    Singular spectrum and effective rank, mean absolute correlation of features, uniformity, alignment of pairs, and per
    finding the Fisher ratio of the features. No metric has a chance level; 0 is that of the Fisher ratio.

    Args:
        encoder: Any model; one without text has no latents.
        store: The images.
        config: Rows, findings, size of the gallery (the rows that are looked at), seed.
        cache: Folder of the embedding cache.

    Raises:
        UserError: There are fewer than three images to look at.
    """
    rows = draw_rows(
        np.intersect1d(select_rows(store, config.where), store.rows(split=config.split)), config.gallery, config.seed
    )
    if len(rows) < 3:
        raise UserError(f"{len(rows)} images have no geometry to speak of", "Loosen --where, or choose another --split.")
    images = embed(encoder, store, rows, cache)
    clouds: dict[str, tuple[RowNumbers, Array]] = {FEATURES: (rows, images.features)}
    numbers: list[ResultRow] = []
    paired = np.intersect1d(rows, store.rows(with_text=True, sections=config.sections or None))
    if images.latents.shape[1]:
        clouds[IMAGES] = (rows, images.latents)
    if images.latents.shape[1] and len(paired) >= 3:
        texts = encoder.encode_text([_text(store, int(row), config) for row in paired])
        clouds[TEXTS] = (paired, texts)
        numbers.append(_paired_row(store, paired, images.at(paired).latents, texts, config))
    spectra = {name: shape.singular_spectrum(cloud) for name, (_, cloud) in clouds.items()}
    numbers = [row for name, (own, cloud) in clouds.items() for row in _cloud_rows(store, own, cloud, name, config)] + numbers
    numbers += _separability(store, rows, images.features, config)
    protocol = {"rows": len(rows), "gallery": config.gallery, "text view": config.text_view, "groups": shape.GROUPS}
    notes = [
        f"{name}: {len(cloud)} vectors of {cloud.shape[1]} numbers are too few for its spectrum; read the rank as a lower bound."
        for name, (_, cloud) in clouds.items()
        if len(cloud) < FEW_PER_FEATURE * cloud.shape[1]
    ]
    result = make_result("geometry", encoder, store, config, numbers, protocol, notes)
    return result.with_predictions(_spectrum_table(spectra))


def _text(store: StoreTable, row: int, config: EvaluateConfig) -> str:
    return text_views(store.text(row, config.sections or None), config.text_view)[0]


def _patients(store: StoreTable, rows: RowNumbers) -> list[str]:
    known = store.column("patient_id")
    return [str(known[row]) for row in rows]


def _cloud_rows(store: StoreTable, rows: RowNumbers, cloud: Array, name: str, config: EvaluateConfig) -> list[ResultRow]:
    """Measure one cloud of vectors."""
    statistics = {
        "effective rank": lambda chosen: shape.effective_rank(shape.singular_spectrum(cloud[chosen])),
        "mean correlation": lambda chosen: shape.mean_correlation(cloud[chosen]),
        "uniformity": lambda chosen: shape.uniformity(cloud[chosen]),
    }
    patients = _patients(store, rows)
    return [
        _row(metric, name, shape.jackknife_interval(statistic, patients, config.seed), len(rows))
        for metric, statistic in statistics.items()
    ]


def _paired_row(store: StoreTable, rows: RowNumbers, images: Array, texts: Array, config: EvaluateConfig) -> ResultRow:
    found = shape.jackknife_interval(
        lambda chosen: shape.alignment(images[chosen], texts[chosen]), _patients(store, rows), config.seed
    )
    return _row("alignment", PAIRS, found, len(rows))


def _separability(store: StoreTable, rows: RowNumbers, features: Array, config: EvaluateConfig) -> list[ResultRow]:
    """Fisher ratio of each finding with both classes, and their mean; nothing where there are no labels."""
    asked = [f for f in (config.label or store.findings) if f != config.against and f.lower() not in NORMAL]
    if not asked:
        return []
    known = targets(store, rows, asked, config.against)
    patients, lines = _patients(store, rows), []
    chosen = [place for place in range(len(asked)) if {0.0, 1.0} <= set(known[:, place].tolist())]
    if not chosen:
        return []

    def ratio(places: Array, finding: int) -> float:
        labelled = places[~np.isnan(known[places, finding])]
        return shape.fisher_ratio(features[labelled], known[labelled, finding] == 1)

    everyone = shape.jackknife_interval(
        lambda places: float(np.nanmean([ratio(places, finding) for finding in chosen])), patients, config.seed
    )
    lines.append(_row("Fisher ratio", FEATURES, everyone, len(rows), MACRO))
    for finding in chosen:
        found = ratio(np.arange(len(rows)), finding)
        count = int((known[:, finding] == 1).sum())
        lines.append(
            ResultRow(
                metric="Fisher ratio", label=asked[finding], setting=FEATURES, value=number(found), n=len(rows), positives=count
            )
        )
    return lines


def _row(metric: str, setting: str, found: tuple[float, float, float], n: int, label: str = "") -> ResultRow:
    value, low, high = (number(each) for each in found)
    return ResultRow(metric=metric, label=label, setting=setting, value=value, low=low, high=high, n=n)


def _spectrum_table(spectra: dict[str, Array]) -> pa.Table:
    return pa.table(
        {
            "setting": [name for name, values in spectra.items() for _ in values],
            "axis": [place for values in spectra.values() for place in range(1, len(values) + 1)],
            "deviation": [float(value) for values in spectra.values() for value in values],
        }
    )
