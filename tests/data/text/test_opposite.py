"""Opposites of statements: the rules, and that they turn real findings into denied ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from lingula.data.text.ct_labeller import ct_mentions
from lingula.data.text.ct_rate import read_ct_reports
from lingula.data.text.opposite import opposite_of
from lingula.data.text.sections import parse_sections
from lingula.data.text.statements import report_statements


@pytest.mark.parametrize(
    ("statement", "opposite"),
    [
        ("There is a nodule in the left lung.", "There is no nodule in the left lung."),
        ("There are several nodules.", "There are no nodules."),
        ("There was an effusion.", "There was no effusion."),
        ("There is also minimal bronchiectasis.", "There is no minimal bronchiectasis."),
        ("In the left lung, there is a cyst.", "In the left lung, there is no cyst."),
        ("The heart is enlarged.", "The heart is not enlarged."),
        ("The ascending aorta was 46 mm.", "The ascending aorta was not 46 mm."),
        ("The lung appears emphysematous.", "The lung does not appear emphysematous."),
        ("The aorta shows dilatation.", "The aorta does not show dilatation."),
        ("The nodules have been excised.", "The nodules have not been excised."),
        ("Consolidation is present in the right lung.", "No consolidation is present in the right lung."),
        ("A 4 mm nodule is seen.", "No 4 mm nodule is seen."),
        ("Atheroma plaques were observed in the aorta.", "No atheroma plaques were observed in the aorta."),
        ("In the lower lobe, a cyst is observed.", "In the lower lobe, no cyst is observed."),
        ("Hiatal hernia.", "No hiatal hernia."),
        ("Several millimetric nodules in both lungs.", "No millimetric nodules in both lungs."),
        ("LAP in the mediastinum.", "No LAP in the mediastinum."),
        ("T5 fracture.", "No T5 fracture."),
    ],
)
def test_rules(statement: str, opposite: str) -> None:
    assert opposite_of(statement) == opposite


def test_opposites_of_real_findings_deny_them(shared: Path) -> None:
    """Of the findings that the labeller reads in real statements, it must find hardly any affirmed in their opposites."""
    reports = read_ct_reports(shared / "data/ct/reports/ctclip_text_classifier_val.csv")
    statements = {
        text
        for report in reports
        for part in report_statements(parse_sections(report.text)).values()
        for text in part.positive
        if any(value == 1 for _, value in ct_mentions(text))
    }
    still = [text for text in statements if any(value == 1 for _, value in ct_mentions(opposite_of(text)))]
    assert len(statements) > 700
    assert len(still) / len(statements) < 0.07
