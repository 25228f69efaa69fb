"""Reports: truthful, varied, with a right sentence map, and with test phrasings that training never uses."""

from __future__ import annotations

import pytest

from lingula.data.phantom.findings import FINDINGS
from lingula.data.phantom.phrases import DEVICES, FRAMES, HEDGES, IMPRESSION, NEGATIONS, NORMAL
from lingula.data.phantom.prompts import phrasings
from lingula.data.phantom.report import write_report
from lingula.data.phantom.source import PhantomSource
from lingula.data.phantom.wordings import WORDS


@pytest.fixture(scope="module")
def train_texts() -> list[str]:
    return [study.report.text for study in PhantomSource(2500, 0, 0, seed=3) if study.report]


@pytest.fixture(scope="module")
def source() -> PhantomSource:
    return PhantomSource(300, 0, 1000, seed=3)


def test_reports_are_distinct(source: PhantomSource, train_texts: list[str]) -> None:
    tests = [study.report.text for study in source if study.split == "test" and study.report]
    assert len(set(tests)) >= 0.99 * len(tests)
    assert len(set(train_texts)) >= 0.99 * len(train_texts)


def test_test_sentences_are_unseen_in_training(source: PhantomSource, train_texts: list[str]) -> None:
    seen = {sentence for text in train_texts for sentence in text.split(". ")}
    fresh = [s for study in source if study.split == "test" and study.report for s in study.report.text.split(". ")]
    assert sum(sentence in seen for sentence in fresh) == 0


def test_templates_of_the_two_styles_share_nothing() -> None:
    for finding in FINDINGS:
        train, test = WORDS["train"][finding], WORDS["test"][finding]
        assert not {*train.present, *train.both, *train.absent} & {*test.present, *test.both, *test.absent} - {"{device}"}
    for kind in DEVICES["train"]:
        assert not set(DEVICES["train"][kind]) & set(DEVICES["test"][kind])
    for lists in (FRAMES, HEDGES, IMPRESSION, NEGATIONS):
        assert not set(lists["train"]) & set(lists["test"])
    for system in NORMAL["train"]:
        assert not set(NORMAL["train"][system]) & set(NORMAL["test"][system])


@pytest.mark.parametrize("ct", [False, True])
def test_prompts_are_unseen_and_cover_every_finding(train_texts: list[str], ct: bool) -> None:
    found = phrasings(ct)
    assert set(found) == set(FINDINGS)
    text = " ".join(train_texts).lower()
    for prompts in found.values():
        assert any("radiograph" in prompt for prompt in prompts["positive"]) is not ct
        assert set(prompts) == {"positive", "negative"}
        assert len(prompts["positive"]) >= 3
        assert all(prompt.lower().rstrip(".") not in text for group in prompts.values() for prompt in group)


def test_sentence_map_and_laterality(source: PhantomSource) -> None:
    seen = 0
    for study in list(source)[:400]:
        patient = source.patient(study)
        written = write_report(patient, "train" if study.split == "train" else "test", study.images[0].projection)
        assert study.report == written.report
        assert " ".join(written.sentences) == written.report.sections["findings"]
        for index, (phrase, sentence) in written.words.items():
            fact = patient.facts[index]
            assert phrase.lower().split(" ", 1)[-1] in written.sentences[sentence].lower()
            if (
                fact.finding in ("Pleural Effusion", "Pneumothorax", "Rib Fracture", "Consolidation", "Pleural Thickening")
                and fact.lobe != "lingula"
            ):
                word = fact.side if fact.side != "both" else "bilateral"
                assert word in phrase or (
                    fact.side == "both" and ("both" in phrase or "bilateral" in phrase or "right" not in phrase)
                )
                other = {"right": "left", "left": "right"}.get(fact.side)
                assert other is None or other not in phrase
                seen += 1
        assert not written.denied & patient.findings
    assert seen > 100


def test_regions_point_at_their_sentence(source: PhantomSource) -> None:
    found = 0
    for study in list(source)[:25]:
        assert study.report is not None
        written = write_report(source.patient(study), "train", study.images[0].projection)
        for region in source.read(study, 0).regions:
            assert study.labels[region.finding] == 1
            if region.sentence_index is not None:
                assert region.phrase.lower().split(" ", 1)[-1] in written.sentences[region.sentence_index].lower()
                found += 1
    assert found > 10
