"""Embeddings of a store as one parquet file, for whatever comes after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lingula.core.files import atomic_file
from lingula.data.store_table import StoreTable
from lingula.data.study import Split
from lingula.evaluation.embeddings import embed
from lingula.evaluation.encoder import Encoder

TEXT_BLOCK = 256


def write_embeddings(encoder: Encoder, store: StoreTable, path: Path, split: Split | None = None) -> int:
    """Write one row per image and return how many.

    Columns: row_id, study_id, patient_id, split, `features` (before projection), `latent` and `text_latent` (L2-normalised;
    null where the model has no text tower or the study has no text).

    Args:
        encoder: The model.
        store: The images.
        path: Parquet file to write.
        split: Only the rows of this split; all of them where nothing is given.
    """
    rows = store.rows(split=split)
    images = embed(encoder, store, rows)
    has_latents = images.latents.shape[1] > 0
    columns = {name: np.asarray(store.column(name))[rows].tolist() for name in ("row_id", "study_id", "patient_id", "split")}
    columns["features"] = list(images.features)
    columns["latent"] = list(images.latents) if has_latents else [None] * len(rows)
    columns["text_latent"] = _text_latents(encoder, store, rows) if has_latents else [None] * len(rows)
    vector = pa.list_(pa.float32())
    types = {name: vector if name in ("features", "latent", "text_latent") else pa.string() for name in columns}
    table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
    described = {"encoder": encoder.name, "encoder_fingerprint": encoder.fingerprint, "store_fingerprint": store.fingerprint}
    with atomic_file(path) as temporary:
        pq.write_table(table.replace_schema_metadata(described), temporary)
    return len(rows)


def _text_latents(encoder: Encoder, store: StoreTable, rows: np.ndarray) -> list[np.ndarray | None]:
    texts = [store.text(int(row)) for row in rows]
    distinct = sorted({text for text in texts if text})
    latents = [encoder.encode_text(distinct[start : start + TEXT_BLOCK]) for start in range(0, len(distinct), TEXT_BLOCK)]
    place = dict(zip(distinct, (vector for block in latents for vector in block), strict=True))
    return [place.get(text) for text in texts]
