"""What a report affirms."""

from __future__ import annotations

import pytest

from lingula.data.phantom.source import PhantomSource
from lingula.data.text.affirmed import affirmed_text


@pytest.mark.parametrize(
    ("report", "affirmed"),
    [
        ("There is cardiomegaly. No pleural effusion. Lungs are clear.", "There is cardiomegaly."),
        ("Heart size is normal. A small right effusion. There is no pneumothorax.", "A small right effusion."),
        ("Without evidence of edema. Old rib fractures.", "Old rib fractures."),
        ("The lungs are clear. No effusion.", "The lungs are clear. No effusion."),
    ],
)
def test_denied_and_normal_sentences_go(report: str, affirmed: str) -> None:
    assert affirmed_text(report) == affirmed


def test_a_sentence_is_cut_where_it_starts_to_deny() -> None:
    kept = affirmed_text("Moderate cardiomegaly without pulmonary edema. Chronic scarring.")
    assert "cardiomegaly" in kept
    assert "edema" not in kept
    assert "scarring" in kept


def test_phantom_reports_keep_what_is_there_and_lose_what_is_denied() -> None:
    source = PhantomSource(300, 0, 300, seed=5)
    words = {"Pleural Effusion": "effusion", "Cardiomegaly": "cardiomegaly", "Emphysema": "emphysema", "Edema": "edema"}
    wrong, told = 0, 0
    for study in source:
        text = affirmed_text(study.report.sections["findings"]).lower()
        if text == " ".join(study.report.sections["findings"].lower().split()):
            continue
        for finding, word in words.items():
            told += word in text
            wrong += word in text and not study.labels[finding]
    assert told > 150
    assert wrong <= 0.01 * told
