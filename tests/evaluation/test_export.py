from __future__ import annotations

import functools
import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ct_volumes import ChestSource
from distributed import LocalCluster
from PIL import Image
from thumbnail_encoder import ThumbnailEncoder

from lingula.core.errors import UserError
from lingula.core.task_pool import Workers
from lingula.data.open_store import open_store
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.data.volume_store import VolumeStore
from lingula.evaluation import export
from lingula.evaluation.embed_items import FileItems, StoreItems
from lingula.evaluation.export import write_embeddings


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(export, "PART", 4)
    export._encoder.cache_clear()
    yield
    export._encoder.cache_clear()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Eleven images of 16 pixels, every other one with text; the last of them repeats the first one's."""
    folder = tmp_path / "data"
    folder.mkdir()
    lines = ["image,text,split"]
    for number in range(11):
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        lines.append(
            f"{number:02d}.png,{f'Report {number % 10}.' if number % 2 == 0 else ''},{'train' if number < 6 else 'test'}"
        )
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return Store.open(prepare(CsvSource(folder / "table.csv"), tmp_path / "store", PrepareConfig(size=16), workers=1).store)


def load(path: Path | None = None, name: str = "thumbnail", latents: bool = True) -> ThumbnailEncoder:
    return ThumbnailEncoder(path, name, latents)


def test_every_row_gets_its_own_vectors_in_order(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "e.parquet"
    assert write_embeddings(load, StoreItems(store), out) == 11
    table = pq.read_table(out)
    encoder = load()
    features, latents = encoder.embed_pixels([store.pixels(row) for row in range(11)])
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), np.float32), features)
    np.testing.assert_array_equal(np.array(table["latent"].to_pylist(), np.float32), latents)
    for name in ("row_id", "study_id", "patient_id", "split"):
        assert table[name].to_pylist() == store.column(name)
    texts = table["text_latent"].to_pylist()
    assert [text is None for text in texts] == [not store.text(row) for row in range(11)]
    np.testing.assert_array_equal(np.float32(texts[10]), np.float32(encoder.encode_text(["Report 0."])[0]))
    assert texts[10] == texts[0]
    assert table.schema.metadata[b"store_fingerprint"].decode() == store.fingerprint
    assert table.schema.metadata[b"encoder_fingerprint"].decode() == encoder.fingerprint
    assert [path.name for path in tmp_path.iterdir() if "e.parquet" in path.name] == ["e.parquet"]


def test_one_split_and_a_model_without_text(store: Store, tmp_path: Path) -> None:
    assert write_embeddings(functools.partial(load, latents=False), StoreItems(store, "test"), tmp_path / "e.parquet") == 5
    table = pq.read_table(tmp_path / "e.parquet")
    assert table["row_id"].to_pylist() == store.column("row_id")[6:]
    assert table["latent"].null_count == table["text_latent"].null_count == 5


def test_a_cluster_writes_the_very_same_bytes(store: Store, tmp_path: Path) -> None:
    with LocalCluster(2, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address=None, silence_logs=50) as cluster:
        write_embeddings(load, StoreItems(store), tmp_path / "many.parquet", Workers(scheduler=cluster.scheduler_address))
    write_embeddings(load, StoreItems(store), tmp_path / "one.parquet")
    assert (tmp_path / "many.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()


def test_a_call_that_was_cut_short_goes_on_and_another_model_begins_anew(store: Store, tmp_path: Path) -> None:
    out, log = tmp_path / "e.parquet", tmp_path / "log"
    write_embeddings(load, StoreItems(store), tmp_path / "whole.parquet")
    with pytest.raises(RuntimeError, match="power cut"):
        write_embeddings(functools.partial(load, log, "breaks"), StoreItems(store), out)
    (log / "breaks").unlink()
    assert not out.exists()
    write_embeddings(functools.partial(load, log, "breaks"), StoreItems(store), out)
    assert json.loads((log / "seen").read_text()) == [4, 4, 4, 3]  # the second part is begun twice, the first one once
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))
    (tmp_path / ".e.parquet.parts").mkdir()
    (tmp_path / ".e.parquet.parts" / "about.json").write_text("{}")
    (tmp_path / ".e.parquet.parts" / "000000000000.parquet").write_text("of another model")
    write_embeddings(load, StoreItems(store), out)
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "whole.parquet"))


def test_files_are_read_as_the_store_read_its_own_and_none_is_lost(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deeper").mkdir()
    (folder / "03.png").write_bytes(b"\x89PNG broken")
    (folder / "10.png").rename(folder / "deeper/x.png")
    assert write_embeddings(load, FileItems(folder), tmp_path / "e.parquet") == 12
    table = pq.read_table(tmp_path / "e.parquet").to_pydict()
    assert table["path"] == [*(f"{number:02d}.png" for number in range(10)), "deeper/x.png", "table.csv"]
    bad = [path for path, problem in zip(table["path"], table["problem"], strict=True) if problem]
    assert bad == ["03.png", "table.csv"]
    assert [vector is None for vector in table["latent"]] == [path in bad for path in table["path"]]
    features = load().embed_pixels([store.pixels(10)])[0][0]
    np.testing.assert_array_equal(np.float32(table["features"][10]), features)
    empty = tmp_path / "empty"
    empty.mkdir()
    for wrong in (empty, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=r"no file is in|no such folder"):
            FileItems(wrong)


def test_a_worker_with_another_model_or_store_or_disk_is_refused(
    store: Store, tmp_path: Path, make_store: Callable[..., Any]
) -> None:

    part = StoreItems(store).part(0, 2)
    with pytest.raises(UserError, match="has loaded another model"):
        export._write_part(pickle.dumps(load), "of another", part, tmp_path / "x.parquet")
    with pytest.raises(UserError, match="does not see the folder"):
        export._write_part(pickle.dumps(load), load().fingerprint, part, tmp_path / "gone" / "x.parquet")
    changed = type(part)(store.path, "another", (0,))
    with pytest.raises(UserError, match="sees another store"):
        changed.columns(load())


class MeanEncoder(ThumbnailEncoder):
    """Embeds a CT volume as its mean and its standard deviation."""

    embed_pixels = None

    def embed_rows(self, store: VolumeStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        volumes = [store.volume(int(row)).voxels.astype(np.float64) for row in rows]
        features = np.array([[voxels.mean(), voxels.std()] for voxels in volumes])
        return features, features / np.linalg.norm(features, axis=1, keepdims=True)

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[len(text), 1.0] for text in texts])


def test_volumes_of_a_store_are_embedded_and_their_files_are_refused(tmp_path: Path) -> None:
    prepare(ChestSource([(20, 16, 12)] * 5), tmp_path / "ct", PrepareVolumesConfig(), workers=1)
    store = open_store(tmp_path / "ct")
    assert isinstance(store, VolumeStore)
    make = functools.partial(MeanEncoder, None, "mean", True)
    assert write_embeddings(make, StoreItems(store), tmp_path / "e.parquet") == 5
    table = pq.read_table(tmp_path / "e.parquet").to_pydict()
    assert table["row_id"] == store.column("row_id")
    means = [float(store.volume(row).voxels.mean()) for row in range(5)]
    np.testing.assert_allclose([vector[0] for vector in table["features"]], means, rtol=1e-6)
    assert [latent is None for latent in table["text_latent"]] == [not store.text(row) for row in range(5)]
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.nii.gz").touch()
    with pytest.raises(UserError, match="embedded from a store"):
        write_embeddings(make, FileItems(tmp_path / "files"), tmp_path / "f.parquet")
