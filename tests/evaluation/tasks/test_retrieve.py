from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.data.text.affirmed import affirmed_text
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.tasks.retrieve import group_texts, run, text_gallery


def config(**values: Any) -> EvaluateConfig:
    return EvaluateConfig.from_values({"store": Path("x"), "bootstrap": 30, **values}, "test")


def test_a_perfect_encoder_finds_everything_and_a_collapsed_one_gets_chance(store: Any, make_encoder: Callable[..., Any]) -> None:
    perfect = run(make_encoder(store, noise=0.0), store, config())
    collapsed_encoder = make_encoder(store, name="collapsed")
    collapsed_encoder._latents = np.ones_like(collapsed_encoder._latents)
    collapsed = run(collapsed_encoder, store, config())
    for setting in ("text to image", "image to text"):
        assert perfect.find("recall@1", setting=setting).value == 1
        assert perfect.find("median rank", setting=setting).value == 1
        found = collapsed.find("recall@5", setting=setting)
        assert found.value == pytest.approx(found.chance)
        assert found.chance == pytest.approx(5 / 60)
    near = collapsed.find("precision@10", setting="image to image")
    assert near.value == pytest.approx(near.chance, abs=0.1)
    assert perfect.find("mAP", setting="image to image").value > perfect.find("mAP", setting="image to image").chance + 0.1


def test_any_copy_of_a_report_is_right(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store(40, split=["test"] * 40)
    store._texts = [f"Edema. study {i // 4}." if i % 2 else f"EDEMA.  study {i // 4}." for i in range(40)]
    encoder = make_encoder(store, noise=0.0)
    result = run(encoder, store, config())
    assert result.find("recall@1", setting="text to image").value == 1
    assert result.find("recall@1", setting="text to image").chance == pytest.approx(4 / 40)
    assert result.find("recall@1", setting="image to text").chance == pytest.approx(1 / 10)
    assert any("40 studies with text, 10 distinct" in note for note in result.notes)
    distinct = text_gallery(store, np.arange(40), config(distinct_reports=True))
    assert len(distinct) == 10


def test_the_gallery_holds_one_image_per_study_and_only_those_with_text(make_store: Callable[..., Any]) -> None:
    store = make_store(12, study_id=[f"s{i // 3}" for i in range(12)])
    store._texts[0] = store._texts[9] = store._texts[10] = store._texts[11] = ""
    np.testing.assert_array_equal(text_gallery(store, np.arange(12), config()), [1, 3, 6])
    drawn = text_gallery(store, np.arange(12), config(gallery=2))
    assert len(drawn) == 2
    np.testing.assert_array_equal(drawn, text_gallery(store, np.arange(12), config(gallery=2)))


def test_a_query_is_never_its_own_answer_and_a_study_counts_once(
    make_store: Callable[..., Any], make_encoder: Callable[..., Any]
) -> None:
    """Other views and reconstructions of a study are neither queries nor answers."""
    store = make_store(6, split=["test"] * 6, study_id=["a", "a", "b", "b", "c", "c"])
    store._labels[:] = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]]
    store._texts = [""] * 6
    encoder = make_encoder(store)
    encoder._latents = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0.5, 0.9], [0.9, 0.5]])
    result = run(encoder, store, config(k=[1, 10]))
    table = {(r["row_id"], r["metric"]): r["value"] for r in result.predictions.to_pylist()}
    assert {row for row, _ in table} == {"r0000", "r0004"}
    assert table["r0000", "recall@1"] == 1
    assert table["r0000", "precision@10"] == pytest.approx(1 / 2), "two other studies, one of which shares a finding"
    assert table["r0004", "recall@1"] == 0
    assert table["r0004", "mAP"] == pytest.approx(1 / 2)
    assert result.protocol["gallery of images"] == 3
    assert any("Text was not searched" in note for note in result.notes)


def test_a_supervised_model_searches_by_features(store: Any, make_encoder: Callable[..., Any]) -> None:
    result = run(make_encoder(store, findings=["Edema"]), store, config())
    assert result.settings == ["image to image"]
    assert result.protocol["space"] == "features"


def test_texts_are_grouped_by_words() -> None:
    distinct, group = group_texts(["A  b", "c", "a B", "c "])
    assert distinct == ["A  b", "c"]
    np.testing.assert_array_equal(group, [0, 1, 0, 1])


def test_nothing_to_search_is_an_error(make_store: Callable[..., Any], make_encoder: Callable[..., Any]) -> None:
    store = make_store(8, split=["train"] * 7 + ["test"])
    with pytest.raises(UserError, match="nothing to retrieve"):
        run(make_encoder(store), store, config())


def test_reports_can_be_searched_by_what_they_affirm(store: Any, make_encoder: Callable[..., Any]) -> None:
    encoder, asked = make_encoder(store, noise=0.0), list[str]()
    whole = encoder.encode_text

    def encode_text(texts: Any) -> Any:
        asked.extend(texts)
        return whole(texts)

    encoder.encode_text = encode_text
    run(encoder, store, config(text_view="affirmed"))
    assert asked == [affirmed_text(text) for text in asked]
