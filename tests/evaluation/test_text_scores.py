from __future__ import annotations

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from lingula.data.text.labeller import label_report
from lingula.evaluation.text_scores import bleu, ngram_counts, rouge_l, score_reports

TRUE = [
    "No pleural effusion. The heart is enlarged, with edema of both lungs.",
    "Small left pleural effusion. No edema.",
    "Clear lungs.",
    "Pneumothorax on the right.",
]
SAID = [
    "no pleural effusion . the heart is enlarged .",
    "small left pleural effusion with edema of both lungs .",
    "clear lungs .",
    "",
]
FINDINGS = ["Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax", "Fracture"]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_is_sacrebleu_s_of_the_corpus_and_of_any_resample(order: int) -> None:
    counts, metric = ngram_counts(SAID, TRUE), BLEU(lowercase=True, smooth_method="none", max_ngram_order=order, force=True)
    for drawn in ([0, 1, 2, 3], [0, 0, 1], [1, 3], [2, 2, 2, 0]):
        weights = np.bincount(drawn, minlength=4)[None].astype(float)
        expected = metric.corpus_score([SAID[i] for i in drawn], [[TRUE[i] for i in drawn]]).score / 100
        assert bleu(weights @ counts, order)[0] == pytest.approx(expected)


def test_bleu_by_hand_and_at_its_ends() -> None:
    """Two of three words right, one of two pairs, and the true report has one word more."""
    counts = ngram_counts(["a b x"], ["a b c d"])
    assert bleu(counts, 1)[0] == pytest.approx(np.exp(1 - 4 / 3) * 2 / 3)
    assert bleu(counts, 2)[0] == pytest.approx(np.exp(1 - 4 / 3) * np.sqrt(2 / 3 * 1 / 2))
    assert bleu(counts, 3)[0] == 0
    assert bleu(ngram_counts([""], ["a b"]), 1)[0] == 0
    assert bleu(ngram_counts(TRUE, TRUE), 4)[0] == pytest.approx(1)


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    found = rouge_l(["a b c d", "A. b,", "x", ""], ["a x c d e", "a b", "y", "y"])
    np.testing.assert_allclose(found, [2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5), 1, 0, 0])


def test_clinical_f1_by_hand() -> None:
    """True: heart, edema; effusion; none; pneumothorax. Said: heart; effusion, edema; none; none."""
    scored = score_reports(SAID, TRUE, ["a", "b", "c", "d"], label_report, FINDINGS)
    values = dict(zip(scored.keys, scored.measure(np.ones((1, 4)))[0], strict=True))
    assert values["clinical F1", "Cardiomegaly"] == 1
    assert values["clinical F1", "Edema"] == 0
    assert values["clinical F1", "Pleural Effusion"] == 1
    assert values["clinical F1", "Pneumothorax"] == 0
    assert np.isnan(values["clinical F1", "Fracture"]), "no true report has it"
    assert values["clinical F1", "micro"] == pytest.approx(2 * 2 / (3 + 4))
    assert values["clinical F1", "macro"] == pytest.approx(0.5)
    assert dict(zip(scored.keys, scored.counts(), strict=True))["clinical F1", "Edema"] == (4, 1)


def test_weights_are_how_often_a_report_counts() -> None:
    others = {"toy f1": np.array([0.0, 1.0, 0.5, 0.25])}
    scored = score_reports(SAID, TRUE, list("abcd"), label_report, FINDINGS, others)
    drawn = [1, 1, 3, 0]
    again = score_reports(
        [SAID[i] for i in drawn],
        [TRUE[i] for i in drawn],
        list("abcd"),
        label_report,
        FINDINGS,
        {"toy f1": others["toy f1"][drawn]},
    )
    ones, weights = np.ones((1, 4)), np.bincount(drawn, minlength=4)[None].astype(float)
    np.testing.assert_allclose(scored.measure(weights), again.measure(ones))
    assert ("toy f1", "") in scored.keys
