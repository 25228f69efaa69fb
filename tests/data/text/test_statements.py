"""Short statements of reports: what is affirmed, what is denied, and of which part of the body."""

from __future__ import annotations

from pathlib import Path

import pytest

from lingula.data.text.anatomy import PARTS, part_of
from lingula.data.text.ct_labeller import ct_mentions
from lingula.data.text.ct_rate import CtReport, read_ct_reports
from lingula.data.text.sections import parse_sections
from lingula.data.text.statements import LONGEST, PartStatements, Statements, report_statements, sentence_statements


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("A 4 mm nodule is observed in the left lung.", [("positive", "A 4 mm nodule is observed in the left lung.")]),
        ("No nodule was detected in both lungs.", [("negative", "No nodule was detected in both lungs.")]),
        ("Pleural effusion was not detected.", [("negative", "Pleural effusion was not detected.")]),
        ("Trachea, both main bronchi are open.", [("negative", "Trachea, both main bronchi are open.")]),
        ("Heart contour, size are normal.", [("negative", "Heart contour, size are normal.")]),
        ("The costophrenic angles are sharp.", [("negative", "The costophrenic angles are sharp.")]),
        ("Nothing acute.", [("negative", "Nothing acute.")]),
        ("A sharp-edged nodule is seen.", [("positive", "A sharp-edged nodule is seen.")]),
        ("The heart is larger than normal.", [("positive", "The heart is larger than normal.")]),
        ("• Hiatal hernia", [("positive", "Hiatal hernia.")]),
        ("A few millimetric non-specific nodules.", [("positive", "A few millimetric non-specific nodules.")]),
        (
            "When examined in the lung parenchyma window; emphysematous changes are present; no consolidation was detected.",
            [("positive", "Emphysematous changes are present."), ("negative", "No consolidation was detected.")],
        ),
        ("1.", []),
        ("", []),
    ],
)
def test_sentences(sentence: str, expected: list[tuple[str, str]]) -> None:
    assert list(sentence_statements(sentence)) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "Possible consolidation.",
        "Hypodense lesion in the liver (cyst?).",
        "Clinical correlation is recommended.",
        "Compared with the CT dated 01.02.2020, nodules are stable.",
        "The examination is suboptimal because of motion artifacts.",
        "It is wider than normal.",
        "CT of the chest.",
        "Computed tomography of the thorax without contrast.",
        "Axial images of the chest were acquired.",
        "There is mild respiratory motion.",
        "Slight breathing artefact.",
        "There was no significant change in other findings.",
        "No effusion but large areas of consolidation and atelectasis are observed.",
        "Consolidation " + "with nodules " * 20,
    ],
)
def test_sentences_that_may_affirm_something_are_unclear(sentence: str) -> None:
    ((sign, _),) = sentence_statements(sentence)
    assert sign == "unclear"


@pytest.mark.parametrize(
    ("sentence", "part"),
    [
        ("Pericardial effusion-thickening was not observed.", "heart"),
        ("Minimal pleural effusion.", "pleura"),
        ("Lymph nodes in the aortopulmonary window.", "lymph nodes"),
        ("Calcific plaques in the aortic arch.", "vessels"),
        ("A subpleural nodule in the left lower lobe.", "lungs"),
        ("Liver parenchyma is normal.", "abdomen"),
        ("A hypodense nodule in the right thyroid lobe.", "neck and wall"),
        ("Findings consistent with viral pneumonia.", "lungs"),
        ("A port catheter ends in the vena cava.", "devices"),
        ("Sliding type hiatal hernia.", "oesophagus"),
        ("Trachea is in the midline.", "airways"),
        ("Degenerative changes of the vertebrae.", "bones"),
        ("The findings are stable.", "other"),
    ],
)
def test_parts_of_the_body(sentence: str, part: str) -> None:
    assert part_of(sentence) == part
    assert part in PARTS


def test_a_report_gives_statements_once_and_only_from_sections_that_describe_its_images() -> None:
    sections = {
        "indication": "Emphysema.",
        "findings": "Hiatal hernia. No effusion. A nodule is seen in the left lung.",
        "impression": "Hiatal hernia.",
    }
    assert report_statements(sections) == {
        "pleura": PartStatements(negative=("No effusion.",)),
        "oesophagus": PartStatements(positive=("Hiatal hernia.",)),
        "lungs": PartStatements(positive=("A nodule is seen in the left lung.",)),
    }
    assert report_statements({"findings": "Normal heart. No effusion."}).keys() == {"pleura", "heart"}
    assert report_statements({}) == {}


def real_statements(shared: Path) -> list[tuple[CtReport, Statements]]:
    reports = read_ct_reports(shared / "data/ct/reports/ctclip_text_classifier_val.csv")
    return [(report, report_statements(parse_sections(report.text))) for report in reports]


def test_signs_of_real_statements_agree_with_the_labeller(shared: Path) -> None:
    """What is called positive has no denied finding in it; what is called negative has hardly one affirmed."""
    wrong = {"positive": 0, "negative": 0}
    seen = dict(wrong)
    for _, statements in real_statements(shared):
        for sign, opposite in (("positive", 0), ("negative", 1)):
            for statement in (text for part in statements.values() for text in getattr(part, sign)):
                values = {value for _, value in ct_mentions(statement)}
                seen[sign] += bool(values)
                wrong[sign] += values == {opposite}
                assert len(statement) <= LONGEST + 1
    assert wrong["positive"] <= 0.01 * seen["positive"]
    assert wrong["negative"] <= 0.05 * seen["negative"]
    assert min(seen.values()) > 500


def test_findings_of_real_reports_are_kept_in_their_statements(shared: Path) -> None:
    """Read the labels from the positive statements alone: most of what is present is still there."""
    kept = total = 0
    for report, statements in real_statements(shared):
        said = {name for part in statements.values() for text in part.positive for name, value in ct_mentions(text) if value == 1}
        present = {name for name, value in report.labels.items() if value}
        kept, total = kept + len(said & present), total + len(present)
    assert kept / total > 0.85
