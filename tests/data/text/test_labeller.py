"""The fourteen findings by rules: examples, how sentences combine, and the manual codes of real reports."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from lingula.data.text import labeller
from lingula.data.text.indiana import read_indiana
from lingula.data.text.indiana_labels import CODES, coded_labels, is_tuning
from lingula.data.text.labeller import label_report, label_sections
from lingula.data.text.lexicon import FINDINGS, LEXICON


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Heart size is normal.", {"No Finding": 1, "Cardiomegaly": 0}),
        ("The heart is mildly enlarged.", {"No Finding": 0, "Cardiomegaly": 1}),
        ("The heart is not enlarged.", {"No Finding": 1, "Cardiomegaly": 0}),
        ("Borderline cardiomegaly.", {"No Finding": -1, "Cardiomegaly": -1}),
        ("Widened mediastinum.", {"No Finding": 0, "Enlarged Cardiomediastinum": 1}),
        ("Lungs are clear.", {"No Finding": 1, "Lung Opacity": 0}),
        ("Patchy airspace opacity.", {"No Finding": 0, "Lung Opacity": 1}),
        ("8 mm nodule in the right lung.", {"No Finding": 0, "Lung Lesion": 1}),
        ("No pulmonary edema.", {"No Finding": 1, "Edema": 0}),
        ("Pulmonary vascularity is within normal limits.", {"No Finding": 1, "Edema": 0}),
        ("Left basilar atelectasis versus consolidation.", {"No Finding": -1, "Atelectasis": -1, "Consolidation": -1}),
        ("Findings suggest pneumonia.", {"No Finding": -1, "Pneumonia": -1}),
        ("Tiny apical pneumothorax.", {"No Finding": 0, "Pneumothorax": 1}),
        ("Costophrenic angles are sharp.", {"No Finding": 1, "Pleural Effusion": 0}),
        ("Blunting of the left costophrenic angle.", {"No Finding": -1, "Pleural Effusion": -1}),
        ("Pericardial effusion.", {"No Finding": 1}),
        ("Biapical pleural thickening.", {"No Finding": 0, "Pleural Other": 1}),
        ("Bony structures are intact.", {"No Finding": 1, "Fracture": 0}),
        ("Healed rib fractures.", {"No Finding": 0, "Fracture": 1}),
        ("Right PICC in place.", {"No Finding": 1, "Support Devices": 1}),
        ("No effusion. Small right effusion.", {"No Finding": 0, "Pleural Effusion": 1}),
        ("No effusion. Possible effusion.", {"No Finding": -1, "Pleural Effusion": -1}),
        ("INDICATION: Pneumonia?\nFINDINGS: No effusion.\nIMPRESSION: Normal.", {"No Finding": 1, "Pleural Effusion": 0}),
        ("", {}),
    ],
)
def test_labels(text: str, expected: dict[str, int]) -> None:
    labels = label_report(text)
    assert tuple(labels) == FINDINGS
    assert {finding: value for finding, value in labels.items() if value is not None} == expected


def test_the_findings_are_chexperts() -> None:
    assert len(FINDINGS) == 14
    assert set(CODES) == set(LEXICON) == set(FINDINGS) - {"No Finding"}


def test_held_out_reports_agree_with_their_manual_codes(shared: Path) -> None:
    reports = [report for report in read_indiana(shared / "data/cxr/reports/NLMCXR_reports.tgz") if not is_tuning(report)]
    pairs = [(coded, label_sections(report.sections)) for report in reports if (coded := coded_labels(report)) is not None]
    assert len(reports) == 1925
    scores = []
    for finding in FINDINGS:
        truth, claimed = np.array([(c[finding] == 1, said[finding] == 1) for c, said in pairs if c[finding] is not None]).T
        scores.append(2 * (truth & claimed).sum() / (truth.sum() + claimed.sum()))
    assert np.mean(scores) == pytest.approx(0.884, abs=0.005)
    assert min(scores) > 0.6


def test_no_rule_is_slow_by_an_order_of_magnitude(shared: Path) -> None:
    reports = read_indiana(shared / "data/cxr/reports/NLMCXR_reports.tgz")
    texts = [" ".join(f"{name.upper()}: {text}" for name, text in report.sections.items()) for report in reports]
    labeller.sentence_mentions.remembered.cache_clear()
    begun = time.process_time()
    for text in texts:
        label_report(f"{text} ")
    assert len(texts) / (time.process_time() - begun) > 200
