from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.prompts import (
    CT,
    Prompts,
    choose_prompts,
    default_prompts,
    encode_prompts,
    ensemble,
    phantom_prompts,
    read_prompts,
)

KNOWN = ["Edema", "Lung Opacity", "Pneumonia"]


def test_templates_name_the_finding_in_lower_case_and_keep_abbreviations() -> None:
    prompts = default_prompts("Lung_Opacity")
    assert "there is lung opacity" in prompts.positive
    assert "no evidence of lung opacity" in prompts.negative
    assert len(set(prompts.positive) | set(prompts.negative)) == len(prompts.positive) + len(prompts.negative)
    assert "no COVID-19" in default_prompts("COVID-19").negative
    assert not any("no finding" in text.lower() for text in default_prompts("No Finding").positive)
    assert default_prompts("No Finding", CT).positive[0] == "normal chest CT"


def test_a_file_overrides_and_the_rest_keeps_its_prompts(tmp_path: Path) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text("Edema:\n  positive: [wet lungs]\n  negative: [dry lungs]\n")
    own = {"Edema": Prompts(positive=("a",), negative=("b",)), "Pneumonia": Prompts(positive=("c",), negative=("d",))}
    chosen = choose_prompts(KNOWN, KNOWN, path, own)
    assert list(chosen) == KNOWN
    assert chosen["Edema"].positive == ("wet lungs",)
    assert chosen["Pneumonia"].negative == ("d",)
    assert chosen["Lung Opacity"] == default_prompts("Lung Opacity")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Pneumona: {positive: [a], negative: [b]}", "Did you mean 'Pneumonia'"),
        ("Edema: [a, b]", "two lists"),
        ("Edema: {positive: [a], negativ: [b]}", "negativ"),
        ("Edema: {positive: [], negative: [b]}", "positive"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "prompts.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message):
        read_prompts(path, KNOWN)


def test_an_unknown_finding_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'Edema'"):
        choose_prompts(["Oedema"], KNOWN)


def test_an_ensemble_weighs_every_prompt_alike() -> None:
    mean = ensemble([np.array([10.0, 0.0]), np.array([0.0, 0.1])])
    np.testing.assert_allclose(mean, np.sqrt([0.5, 0.5]))


def test_each_text_is_encoded_once_and_lands_on_its_side() -> None:
    class Counting:
        name, fingerprint, findings = "x", "x", ()
        seen: list[str] = []  # noqa: RUF012

        def encode_text(self, texts: Sequence[str]) -> np.ndarray:
            self.seen += texts
            return np.array([[1.0, 0.0] if text == "yes" else [0.0, 1.0] for text in texts])

    encoder = Counting()
    same = Prompts(positive=("yes", "yes"), negative=("no",))
    positive, negative = encode_prompts(encoder, {"A": same, "B": same})  # type: ignore[arg-type]
    np.testing.assert_array_equal(positive, [[1, 0], [1, 0]])
    np.testing.assert_array_equal(negative, [[0, 1], [0, 1]])
    assert sorted(encoder.seen) == ["no", "yes"]


def test_the_phantom_has_prompts_for_both_sides() -> None:
    prompts = phantom_prompts()
    assert len(prompts) >= 14
    assert all(set(p.positive).isdisjoint(p.negative) for p in prompts.values())
