"""The eighteen findings of chest CT by rules: examples, and the labels of real reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.data.text.ct_labeller import label_ct_report, split_ct_sentences
from lingula.data.text.ct_lexicon import CT_FINDINGS
from lingula.data.text.ct_rate import read_ct_reports

TABLES = "data/ct/reports/ctclip_text_classifier_{}.csv"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A port catheter extends to the superior vena cava.", {"Medical material": 1}),
        ("Peritoneal implants are observed.", {}),
        ("Calcific atheroma plaques are observed in the aortic arch.", {"Arterial wall calcification": 1}),
        ("Calcific atheroma plaques are observed in the coronary arteries.", {"Coronary artery wall calcification": 1}),
        (
            "There are wall calcifications in the aorta and coronary arteries.",
            {"Arterial wall calcification": 1, "Coronary artery wall calcification": 1},
        ),
        ("Calcification is observed in the aortic valve.", {}),
        ("Heart contour, size are normal.", {"Cardiomegaly": 0}),
        ("The heart is larger than normal.", {"Cardiomegaly": 1}),
        ("Pericardial effusion-thickening was not observed.", {"Pericardial effusion": 0}),
        ("An effusion of 17 mm was observed in the pericardial area.", {"Pericardial effusion": 1}),
        ("No pleural or pericardial effusion was detected.", {"Pericardial effusion": 0, "Pleural effusion": 0}),
        ("Pneumonia, pleural effusion and pneumothorax were not observed.", {"Pleural effusion": 0}),
        ("Bilateral minimal pleural effusion.", {"Pleural effusion": 1}),
        ("Sliding type hiatal hernia is observed.", {"Hiatal hernia": 1}),
        ("No enlarged lymph nodes were detected in the mediastinum.", {"Lymphadenopathy": 0}),
        ("Lymph nodes that did not reach pathological size were observed.", {"Lymphadenopathy": 1}),
        ("Minimal emphysematous changes in both lungs.", {"Emphysema": 1}),
        ("Linear atelectasis in the lower lobe.", {"Atelectasis": 1}),
        ("Fibroatelectatic changes in the lower lobe.", {"Pulmonary fibrotic sequela": 1}),
        ("Height loss due to collapse of the L1 vertebra.", {}),
        ("A 4 mm nodule in the right lung.", {"Lung nodule": 1}),
        ("A hypodense nodule in the left thyroid lobe.", {}),
        ("Ground-glass densities in both lungs.", {"Lung opacity": 1}),
        ("A ground-glass nodule in the right lung.", {"Lung nodule": 1}),
        ("Sequelae changes of the left kidney.", {}),
        ("Mosaic attenuation pattern.", {"Mosaic attenuation pattern": 1}),
        ("Peribronchial thickening in both lungs.", {"Peribronchial thickening": 1}),
        ("No consolidation area was detected.", {"Consolidation": 0}),
        ("Central bronchiectasis.", {"Bronchiectasis": 1}),
        ("Smooth interlobular septal thickenings.", {"Interlobular septal thickening": 1}),
        ("Possible consolidation.", {"Consolidation": -1}),
        ("No consolidation. Consolidation in the left lung.", {"Consolidation": 1}),
        ("INDICATION: emphysema?\nFINDINGS: Pleural effusion was not detected.", {"Pleural effusion": 0}),
        ("", {}),
    ],
)
def test_labels(text: str, expected: dict[str, int]) -> None:
    labels = label_ct_report(text)
    assert tuple(labels) == CT_FINDINGS
    assert {finding: value for finding, value in labels.items() if value is not None} == expected


def test_the_findings_are_ct_rates() -> None:
    assert len(CT_FINDINGS) == 18
    assert (CT_FINDINGS[0], CT_FINDINGS[-1]) == ("Medical material", "Interlobular septal thickening")


def test_quotation_marks_and_bullets_separate_the_items_of_an_impression() -> None:
    text = 'Bones are natural. " Nodules in both lungs " Hiatal hernia." Atelectasis • No effusion'
    expected = ["Bones are natural.", "Nodules in both lungs", "Hiatal hernia.", "Atelectasis", "No effusion"]
    assert split_ct_sentences(text) == expected
    assert split_ct_sentences('The "halo sign" is seen.') == ['The "halo sign" is seen.'], "a quotation stays"


def test_reports_that_no_rule_was_tuned_on_agree_with_their_labels(shared: Path) -> None:
    reports = read_ct_reports(shared / TABLES.format("val"))
    assert len(reports) == 200
    said = [label_ct_report(report.text) for report in reports]
    scores = []
    for finding in CT_FINDINGS:
        truth = np.array([report.labels[finding] == 1 for report in reports])
        claimed = np.array([labels[finding] == 1 for labels in said])
        scores.append(2 * (truth & claimed).sum() / (truth.sum() + claimed.sum()))
    assert np.mean(scores) == pytest.approx(0.962, abs=0.005)
    assert min(scores) > 0.85


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such table"):
        read_ct_reports(tmp_path / "val.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"has no column AccessionNo, Arterial wall calcification"):
        read_ct_reports(tmp_path / "other.csv")
