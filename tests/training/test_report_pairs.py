"""Pairs of texts of one report."""

from __future__ import annotations

from lingula.data.text.sentences import split_sentences
from lingula.training.report_pairs import report_pairs

REPORT = {"findings": "Heart normal. No effusion. A nodule of 1.5 cm.", "impression": "Nodule."}


def test_findings_meet_impression_and_halves_make_up_the_report() -> None:
    pairs = report_pairs([REPORT], seed=0)
    assert pairs[0][:2] == (REPORT["findings"], REPORT["impression"])
    sentences = sorted([*split_sentences(REPORT["findings"]), "Nodule."])
    for first, second, report in pairs[1:]:
        assert report == 0
        assert first
        assert second
        assert sorted(split_sentences(first) + split_sentences(second)) == sentences
    assert len(pairs) > 1


def test_one_sentence_is_paired_with_itself_and_blank_or_repeated_reports_add_nothing() -> None:
    reports = [{"text": "Normal chest."}, {"text": " "}, {"text": " Normal  chest. "}, {"text": "Effusion. Nodule."}]
    pairs = report_pairs(reports, seed=0)
    assert pairs[0][:2] == ("Normal chest.", "Normal chest.")
    assert {frozenset(pair[:2]) for pair in pairs[1:]} == {frozenset({"Effusion.", "Nodule."})}
    assert len({pair.report for pair in pairs}) == 2


def test_the_seed_decides_the_halves() -> None:
    text = {"text": " ".join(f"Finding {letter} is seen." for letter in "abcdefgh")}
    assert report_pairs([text], seed=1) == report_pairs([text], seed=1)
    assert report_pairs([text], seed=1) != report_pairs([text], seed=2)


def test_affirmed_pairs_leave_out_denials_and_halves() -> None:
    pairs = report_pairs([REPORT, {"text": "Effusion. Nodule."}], seed=0, affirmed=True)
    assert pairs[0] == ("A nodule of 1.5 cm.", "Nodule.", 0)
    assert {pair.report for pair in pairs[1:]} == {1}
