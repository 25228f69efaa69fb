from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from volume_blobs import BlobModel, blob_store

from lingula.core.errors import UserError
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.evaluate import task
from lingula.evaluation.pictures import load_pictures
from lingula.evaluation.report_writing import marks_of, write_reports
from lingula.evaluation.run_view import RunView
from lingula.evaluation.tables import tables_for
from lingula.evaluation.tasks.generate import FREQUENT, NEAREST, run
from lingula.evaluation.volume_encoder import ReportWriter
from lingula.methods.colipri import ColipriMethod
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.methods.tokeniser import train_tokeniser
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling
from lingula.objectives import report_errors

SIZES = {
    "encoder": {"embed_dim": 24, "depth": 1, "num_heads": 2, "patch_size": 4, "drop_path": 0.0},
    "image_pooler_heads": 2,
    "text_pooler_heads": 2,
    "report_weight": 1.0,
    "report_decoder": {"width": 32, "layers": 1, "heads": 2, "max_tokens": 24, "dropout": 0.0},
}
CROP = VolumeCropConfig(size=(20, 16, 12))
TOY = """
import json, sys
for line in sys.stdin:
    item = json.loads(line)
    print(json.dumps({"id": item["id"], "scores": {"same": float(item["candidate"].lower() == item["reference"].lower())}}))
"""


class WritingModel:
    """COLIPRI's parts with little in them."""

    name, fingerprint = "colipri", "encoder-colipri"
    findings: tuple[str, ...] = ()

    def __init__(self, store: VolumeStore, weight: float = 1.0) -> None:
        from transformers import BertConfig, BertModel

        texts = [store.text(row) for row in range(len(store))]
        tokeniser = train_tokeniser(texts * 2, SmallLanguageModelConfig(vocabulary=80, max_tokens=24))
        torch.manual_seed(0)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
        bert = BertModel(BertConfig(vocab_size=len(tokeniser), max_position_embeddings=24, **sizes), add_pooling_layer=False)
        words = TextEncoder(bert, tokeniser, Pooling(kind="mean", max_tokens=24), frozen=False)
        config = ColipriMethodConfig.from_values(SIZES | {"report_weight": weight}, "the small sizes")
        self.method = ColipriMethod(config, words).eval()

    def report_writer(self, store: VolumeStore) -> ReportWriter | None:
        if self.method.report_decoder is None:
            return None
        parts = self.method.image_encoder, self.method.report_decoder, self.method.text_encoder
        return ReportWriter(*parts, VolumeCrop(CROP))

    def learn(self, store: VolumeStore, rows: np.ndarray, steps: int) -> None:
        """Descend on report generation alone."""
        optimiser = torch.optim.AdamW(self.method.parameters(), lr=4e-3)
        volumes = VolumeCrop(CROP).evaluate(store, rows)
        report = self.method.text_encoder.tokenise([store.text(int(row)) for row in rows])
        decoder = self.method.report_decoder
        assert decoder is not None
        self.method.train()
        for _ in range(steps):
            tokens = self.method.image_encoder.features(volumes).flatten(2).transpose(1, 2)
            sums, counts = report_errors(decoder(report.ids, tokens), report)
            optimiser.zero_grad()
            (sums.sum() / counts.sum()).backward()
            optimiser.step()
        self.method.eval()


def config(generate: dict[str, Any] | None = None, **values: Any) -> EvaluateConfig:
    own = {"batch": 4, "pictures": 2} | (generate or {})
    return EvaluateConfig.from_values({"store": "x", "bootstrap": 20, "generate": own} | values, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> VolumeStore:
    return blob_store(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def trained(store: VolumeStore) -> WritingModel:
    model = WritingModel(store)
    model.learn(store, np.arange(len(store)), 150)
    return model


@pytest.fixture
def toy(tmp_path: Path) -> Callable[[], str]:
    def make() -> str:
        (tmp_path / "toy.py").write_text(TOY)
        return f"toy={shlex.join([sys.executable, str(tmp_path / 'toy.py')])}"

    return make


def test_a_model_that_knows_the_reports_writes_them(store: VolumeStore, trained: WritingModel, tmp_path: Path, toy: Any) -> None:
    """It has learned all volumes by heart, those of the test split too: what it writes is the true report, word by word."""
    ways = {"way": ("greedy", "beam", "sample"), "temperature": 0.01, "scorer": (toy(),)}
    assert task("generate") is run
    result = run(trained, store, config(ways))  # type: ignore[arg-type]
    assert result.settings == ["greedy", "beam of 4", "drawn, temperature 0.01, top-p 0.9", FREQUENT, NEAREST]
    for setting in result.settings[:3]:
        for metric, label in (("BLEU-4", ""), ("ROUGE-L", ""), ("clinical F1", "micro"), ("clinical F1", "Pleural Effusion")):
            row = result.find(metric, label, setting)
            assert row is not None
            assert row.value == pytest.approx(1)
            assert row.chance < 1
            assert row.chance == result.find(metric, label, FREQUENT).value  # type: ignore[union-attr]
            assert row.n == 6
    lines = result.predictions.to_pylist()
    assert len(lines) == 5 * 6
    first = lines[0]
    assert (first["row_id"], first["true"]) == (store.column("row_id")[12], store.text(12))
    assert first["generated"].replace(" .", ".") == store.text(12).lower()
    assert first["findings true"] == first["findings generated"] == ["Lung Lesion", "Pleural Effusion"]
    shares = [line["toy same"] for line in lines if line["setting"] == FREQUENT]
    assert result.find("toy same", "", FREQUENT).value == pytest.approx(np.mean(shares))  # type: ignore[union-attr]
    assert any("3 different reports about 6 volumes" in note for note in result.notes)
    result.save(tmp_path / "evaluation" / "generate")
    pictures = load_pictures(tmp_path / "evaluation" / "generate")
    assert len(pictures) == 2
    assert "true: " in pictures[0].caption
    assert f"{NEAREST}: " in pictures[0].caption
    (tmp_path / "config.yaml").write_text("method: {name: colipri}\n")
    tables = tables_for("generate", [RunView(tmp_path.name, tmp_path, {}, results={"generate": result})])
    assert str(tables[0].title).startswith("Report gen")


def test_baselines_are_what_they_say(store: VolumeStore, trained: WritingModel) -> None:
    result = run(trained, store, config({"pictures": 0}))  # type: ignore[arg-type]
    lines = result.predictions.to_pylist()
    frequent = {line["generated"] for line in lines if line["setting"] == FREQUENT}
    texts = [store.text(row) for row in range(8)]
    assert frequent == {max(texts, key=texts.count)}
    with torch.inference_mode():
        tower, volumes = trained.method.image_encoder, VolumeCrop(CROP)
        pooled = [tower.pooled(tower.features(volumes.evaluate(store, rows))) for rows in (range(12, 18), range(8))]
    cosines = torch.nn.functional.cosine_similarity(pooled[0][:, None], pooled[1][None], dim=2)
    expected = [store.text(int(row)) for row in cosines.argmax(dim=1)]
    assert [line["generated"] for line in lines if line["setting"] == NEAREST] == expected


def test_what_is_drawn_depends_on_seed_and_volume_alone(store: VolumeStore) -> None:
    model = WritingModel(store)
    writer = model.report_writer(store)
    assert writer is not None
    own = config({"way": ("sample",), "temperature": 2.0, "top_p": 1.0}).generate
    together = write_reports(writer, store, np.arange(12, 18), own, 0)[0]["sample"]
    assert write_reports(writer, store, np.arange(14, 16), own, 0)[0]["sample"] == together[2:4]
    assert write_reports(writer, store, np.arange(12, 18), own, 1)[0]["sample"] != together
    short = config({"way": ("sample",), "temperature": 2.0, "max_tokens": 3}).generate
    assert marks_of(writer, short).limit == 3
    assert all(len(text.split()) <= 2 for text in write_reports(writer, store, np.arange(12, 18), short, 0)[0]["sample"])
    assert not any("[" in text for text in together), "neither padding nor marks are ever written"


def test_bad_requests_are_told(store: VolumeStore) -> None:
    with pytest.raises(UserError, match="does not write reports"):
        run(BlobModel(), store, config())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="trained without report generation"):
        run(WritingModel(store, weight=0.0), store, config())  # type: ignore[arg-type]
    model = WritingModel(store)
    with pytest.raises(UserError, match="no test volume to write about has a report"):
        run(model, store, config(sections=["impression"]))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the scorer gone cannot be run"):
        run(model, store, config({"scorer": ("gone=/no/such/python x.py",)}))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="a scorer reads NAME=COMMAND"):
        config({"scorer": ("radgraph",)})
    with pytest.raises(UserError, match="way names each way once"):
        config({"way": ("greedy", "greedy")})
    assert "--generate.way greedy beam --generate.beams 3" in config({"way": ("greedy", "beam"), "beams": 3}).options("generate")
