from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from miniatures import prepared, rsna

from lingula.cli import main
from lingula.data.sources.public import PublicConfig
from lingula.data.sources.rsna import RsnaSource
from lingula.data.store import Store
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.protocols.protocol import protocols, with_protocol
from lingula.evaluation.protocols.published import caveats, published_for, published_numbers, side_by_side
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe

BUDGET: dict[str, Any] = {
    "image_encoder": {"name": "test_resnet", "output_stride": 8},
    "optimisation": {"steps": 2, "batch_size": 8, "warmup": 0},
    "runtime": {"validate_every": 2, "checkpoint_every": 100},
}


def test_every_number_belongs_to_a_protocol_once_and_has_a_source() -> None:
    numbers = published_numbers()
    known = protocols()
    tables = {name if each.numbers is None else each.numbers for name, each in known.items()}
    assert {each.protocol for each in numbers} <= tables
    assert all(0 < each.value < 100 and each.source for each in numbers)
    keys = Counter((each.protocol, each.method, each.fraction, each.metric) for each in numbers)
    assert max(keys.values()) == 1
    for each in numbers:
        fractions = known[each.protocol].fractions
        assert (each.fraction in fractions) if fractions else each.fraction is None


@pytest.mark.parametrize(
    ("name", "fraction", "metric", "method", "value"),
    [
        ("g2d/segment/rsna", 0.01, "Dice", "G2D encoder", 70.9),
        ("g2d/segment-decoder/siim", 1.0, "Dice", "G2D encoder-decoder", 68.4),
        ("m-flag/segment/siim", 0.1, "Dice", "M-FLAG", 61.2),
        ("mgca/detect/object-cxr", 1.0, "mAP", "MGCA", 19.2),
        ("kad/zero-shot/nih", None, "AUROC", "KAD", 78.9),
        ("medklip/ground/rsna", None, "IoU", "MedKLIP", 31.7),
        ("benchx/fine-tune/nih", 0.01, "AUROC", "BenchX M-FLAG", 66.5),
        ("colipri/zero-shot/ct-rate", None, "AUROC", "COLIPRI-CRM", 79.81),
    ],
)
def test_numbers_as_printed(name: str, fraction: float | None, metric: str, method: str, value: float) -> None:
    first = published_for(name, fraction, metric)[0]
    assert (first.method, first.value) == (method, value)


def test_nothing_below_one_per_cent_was_published_for_one_per_cent_of_object_cxr() -> None:
    found = {each.method: each.value for each in published_for("mgca/detect/object-cxr", 0.01, "mAP")}
    assert found == {"G2D encoder": 3.8}


def _result(rows: list[ResultRow]) -> TaskResult:
    about = {"encoder": "e", "encoder_fingerprint": "f", "store": "rsna", "store_fingerprint": "g", "split": "test"}
    return TaskResult.from_values({"task": "segment", **about, "rows": [row.model_dump() for row in rows]}, "test")


def test_published_and_here_stand_beside_each_other_in_per_cent() -> None:
    setting = "1 % of labels, frozen encoder, random decoder"
    key = {"label": "Pneumonia", "setting": setting}
    result = _result(
        [ResultRow(metric="mgca Dice", value=0.6512, **key), ResultRow(metric="Dice", value=0.5, low=0.4, high=0.61, **key)]
    )
    config = EvaluateConfig(store=Path("x"), protocol="g2d/segment/rsna", fraction=(0.01,))
    (line,) = side_by_side(result, config)
    own, here, others = line.split(" · ")
    assert own == "g2d/segment/rsna, 1 %, Dice: published: 70.9 (G2D encoder)"
    assert here == "here: 65.1; Dice 50.0 [40.0, 61.0]"
    assert others.startswith("best others: IMITATE 70.5, ")
    assert "here: –" in side_by_side(_result([]), config)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of a small RSNA, and a supervised run of two steps on it."""
    place = tmp_path_factory.mktemp("protocol")
    prepared(RsnaSource(rsna(place / "rsna", images=40, side=32), PublicConfig(split="benchx")), place / "store")
    data = {"store": str(place / "store"), "image_size": 32}
    pretrain(recipe("supervised", "sound", {}, BUDGET | {"data": data}), place / "run")
    return place


def test_a_protocol_end_to_end(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--segment.steps", "4", "--segment.every", "2", "--draws", "1", "--bootstrap", "20", "--fraction", "1.0"]
    store = ["--store", str(run / "store"), "--protocol", "g2d/segment/rsna"]
    main(["evaluate", str(run / "run"), *store, *words])
    told = capsys.readouterr().out
    assert "g2d/segment/rsna, 100 %, Dice: published: 75.1 (G2D encoder) · here: " in told
    assert "the store is split by 'benchx', the protocol by 'mgca'" in told
    assert "28 / 6 / 6 images in train, val and test, the protocol has 16,010 / 5,337 / 5,337" in told
    assert "images are stored at 32 pixels, the protocol has 224" in told
    result = TaskResult.load(run / "run/evaluation/segment")
    setting = "100 % of labels, frozen encoder, random decoder"
    value = result.find("mgca Dice", "Pneumonia", setting)
    assert value is not None
    assert value.value is not None
    assert f"here: {100 * value.value:.1f}" in told
    assert {row.setting for row in result.rows} == {setting}
    main(["report", str(run / "run")])
    page = (run / "run/report.html").read_text(encoding="utf-8")
    assert "published: 75.1 (G2D encoder)" in page


def test_another_data_set_is_not_comparable(run: Path) -> None:
    store = Store.open(run / "store")
    config = with_protocol(EvaluateConfig(store=run / "store", protocol="g2d/segment/siim"))
    (first, *_) = caveats(store, config, store.about)
    assert first == "g2d/segment/siim: the store holds rsna, the protocol is of siim: NOT COMPARABLE"
