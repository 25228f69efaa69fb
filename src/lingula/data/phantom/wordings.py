"""How phantom reports name their findings: noun phrases per finding.

Every list exists twice: `train` is used in the training split only, `test` in validation and test only. Placeholders:
{side} right, left or bilateral; {on} on the right, on the left, bilaterally; {lobe}; {sev} a severity word; {size}; {kind};
{ribs}. A leading `+` marks a plural.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Style = Literal["train", "test"]


@dataclass(frozen=True)
class Wording:
    """Noun phrases for one finding in one style.

    Args:
        present: Phrases for a finding that is there.
        both: Phrases where it lies on both sides; `present` serves where there are none.
        absent: Phrases that follow `No`.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...]
    both: tuple[str, ...] = ()


WORDS: dict[Style, dict[str, Wording]] = {
    "train": {
        "Aortic Calcification": Wording(
            (
                "calcification of the aortic arch",
                "{sev} aortic calcification",
                "+atherosclerotic calcifications of the aorta",
                "a calcified aortic knob",
            ),
            ("aortic calcification", "vascular calcification"),
        ),
        "Atelectasis": Wording(
            (
                "{sev} {side} basilar atelectasis",
                "{side} lower lung atelectasis",
                "{sev} subsegmental atelectasis {on}",
                "{sev} atelectasis at the {side} base",
                "volume loss at the {side} base",
            ),
            ("atelectasis", "volume loss"),
        ),
        "Cardiomegaly": Wording(
            (
                "{sev} cardiomegaly",
                "{sev} enlargement of the heart",
                "{sev} enlargement of the cardiac silhouette",
                "an enlarged heart",
            ),
            ("cardiomegaly", "enlargement of the heart"),
        ),
        "Consolidation": Wording(
            (
                "a {lobe} consolidation",
                "{sev} airspace consolidation in the {lobe}",
                "a {sev} opacity in the {lobe} concerning for pneumonia",
                "airspace disease in the {lobe}",
            ),
            ("focal consolidation", "airspace consolidation", "pneumonia"),
        ),
        "Edema": Wording(
            (
                "{sev} pulmonary edema",
                "{sev} pulmonary vascular congestion with interstitial edema",
                "{sev} perihilar haze in keeping with edema",
                "vascular congestion and {sev} edema",
            ),
            ("pulmonary edema", "vascular congestion"),
        ),
        "Emphysema": Wording(
            (
                "{sev} emphysema",
                "{sev} emphysematous change of the upper lobes",
                "hyperinflation with {sev} emphysema",
                "+hyperinflated lungs with flattened diaphragms in keeping with {sev} emphysema",
            ),
            ("emphysema", "hyperinflation"),
        ),
        "Enlarged Cardiomediastinum": Wording(
            (
                "{sev} widening of the mediastinum",
                "a widened mediastinum",
                "{sev} mediastinal widening",
                "an enlarged cardiomediastinal contour",
            ),
            ("mediastinal widening", "widening of the mediastinum"),
        ),
        "Fibrosis": Wording(
            (
                "{sev} {side} basal fibrosis",
                "{sev} reticular opacity at the {side} base in keeping with fibrosis",
                "{sev} interstitial fibrosis {on}",
            ),
            ("fibrosis", "reticular opacity"),
            (
                "{sev} bibasal fibrosis",
                "+{sev} reticular opacities at both bases in keeping with fibrosis",
                "{sev} interstitial fibrosis bilaterally",
            ),
        ),
        "Hiatal Hernia": Wording(
            (
                "a {sev} hiatal hernia",
                "a {sev} retrocardiac hiatal hernia",
                "a retrocardiac density with an air-fluid level in keeping with a {sev} hiatal hernia",
            ),
            ("hiatal hernia", "retrocardiac density"),
        ),
        "Lung Mass": Wording(
            (
                "a {size} mass in the {lobe}",
                "a large {lobe} mass",
                "a lobulated lung mass in the {lobe}",
                "a {lobe} mass measuring {size}",
            ),
            ("lung mass", "pulmonary mass"),
        ),
        "Lung Nodule": Wording(
            (
                "a {size} nodule in the {lobe}",
                "a {lobe} nodule",
                "a {size} pulmonary nodule in the {lobe}",
                "a rounded nodular opacity in the {lobe}",
            ),
            ("pulmonary nodule", "lung nodule"),
        ),
        "Lymphadenopathy": Wording(
            (
                "{side} hilar lymphadenopathy",
                "{sev} {side} hilar enlargement suspicious for lymphadenopathy",
                "+enlarged {side} hilar lymph nodes",
            ),
            ("hilar lymphadenopathy", "hilar enlargement"),
        ),
        "Pleural Effusion": Wording(
            (
                "a {sev} {side} pleural effusion",
                "a {sev} pleural effusion {on}",
                "{side} pleural fluid",
                "a {sev} {side} effusion with blunting of the costophrenic angle",
                "blunting of the {side} costophrenic angle in keeping with a {sev} effusion",
            ),
            ("pleural effusion", "pleural fluid", "effusion"),
            (
                "+{sev} bilateral pleural effusions",
                "+{sev} pleural effusions bilaterally",
                "bilateral pleural fluid",
                "+bilateral effusions with blunting of the costophrenic angles",
            ),
        ),
        "Pleural Thickening": Wording(
            (
                "{sev} {side} {kind} pleural thickening",
                "{sev} thickening of the {kind} pleura {on}",
                "{side} {kind} pleural thickening",
            ),
            ("pleural thickening", "thickening of the pleura"),
        ),
        "Pneumothorax": Wording(
            (
                "a {sev} {side} pneumothorax",
                "a {sev} pneumothorax {on}",
                "a {sev} {side} apical pneumothorax",
                "a visible pleural line {on} with a {sev} pneumothorax",
            ),
            ("pneumothorax", "pleural air"),
        ),
        "Rib Fracture": Wording(
            ("a {ribs} rib fracture", "a displaced fracture of the {ribs} rib", "an old healing fracture of the {ribs} rib"),
            ("rib fracture", "displaced fracture"),
            (
                "+fractures of the {ribs} ribs",
                "+multiple rib fractures involving the {ribs} ribs",
                "+healing fractures of the {ribs} ribs",
            ),
        ),
        "Support Devices": Wording(
            ("{device}",),
            ("support device", "line or tube", "indwelling device"),
        ),
    },
    "test": {
        "Aortic Calcification": Wording(
            (
                "calcified plaque of the aortic arch",
                "+{sev} calcifications along the aortic knob",
                "an atherosclerotic calcified aorta",
            ),
            ("calcified plaque of the aorta",),
        ),
        "Atelectasis": Wording(
            (
                "{sev} atelectatic change at the {side} lung base",
                "+{sev} bands of atelectasis in the {side} lower lung",
                "loss of volume at the {side} lung base with atelectasis",
            ),
            ("atelectatic change", "basal atelectasis"),
        ),
        "Cardiomegaly": Wording(
            (
                "{sev} cardiac enlargement",
                "a {sev} enlarged cardiac silhouette",
                "heart size above normal with {sev} cardiomegaly",
            ),
            ("cardiac enlargement", "enlarged cardiac silhouette"),
        ),
        "Consolidation": Wording(
            ("consolidation of the {lobe}", "a {sev} consolidative opacity in the {lobe}", "a {sev} {lobe} airspace opacity"),
            ("consolidative opacity", "airspace opacity"),
        ),
        "Edema": Wording(
            (
                "{sev} edema of the lungs",
                "{sev} interstitial pulmonary edema",
                "congested pulmonary vessels with {sev} perihilar edema",
            ),
            ("edema of the lungs", "interstitial edema"),
        ),
        "Emphysema": Wording(
            (
                "{sev} upper lobe emphysema",
                "{sev} emphysematous lungs with flat diaphragms",
                "emphysematous hyperinflation of {sev} degree",
            ),
            ("emphysematous change",),
        ),
        "Enlarged Cardiomediastinum": Wording(
            ("a {sev} wide mediastinal contour", "{sev} enlargement of the mediastinum", "an abnormally wide upper mediastinum"),
            ("enlargement of the mediastinum",),
        ),
        "Fibrosis": Wording(
            ("{sev} fibrotic change at the {side} base", "{sev} {side} reticular fibrosis"),
            ("fibrotic change", "interstitial fibrosis"),
            ("{sev} fibrotic change at both bases", "{sev} bilateral reticular fibrosis"),
        ),
        "Hiatal Hernia": Wording(
            ("a {sev} hernia of the hiatus behind the heart", "a {sev} hiatal hernia with an air-fluid level"),
            ("hernia of the hiatus",),
        ),
        "Lung Mass": Wording(
            ("a pulmonary mass of {size} in the {lobe}", "a {lobe} lobulated mass of {size}"),
            ("mass in the lungs", "lobulated mass"),
        ),
        "Lung Nodule": Wording(
            ("a nodule of {size} in the {lobe}", "a nodular {lobe} opacity of {size}", "a {lobe} lung nodule measuring {size}"),
            ("nodule in the lungs", "nodular opacity"),
        ),
        "Lymphadenopathy": Wording(
            ("{sev} {side} lymphadenopathy at the hilum", "{sev} enlargement of {side} hilar nodes"),
            ("enlargement of hilar nodes", "lymphadenopathy"),
        ),
        "Pleural Effusion": Wording(
            (
                "{sev} pleural fluid {on}",
                "{sev} effusion in the {side} pleural space",
                "a blunted {side} costophrenic angle from a {sev} pleural effusion",
            ),
            ("effusion in the pleural space", "fluid in the pleural space"),
            (
                "{sev} pleural fluid on both sides",
                "+{sev} effusions in both pleural spaces",
                "+blunted costophrenic angles from {sev} bilateral pleural effusions",
            ),
        ),
        "Pleural Thickening": Wording(
            ("a {sev} thickened {side} {kind} pleura", "{kind} thickening of the {side} pleura"),
            ("thickened pleura",),
        ),
        "Pneumothorax": Wording(
            (
                "{sev} pneumothorax of the {side} hemithorax",
                "air in the {side} pleural space with a {sev} pneumothorax",
                "a {side} pneumothorax of {sev} size",
            ),
            ("air in the pleural space",),
        ),
        "Rib Fracture": Wording(
            ("a fractured {ribs} rib", "a healing {ribs} rib fracture"),
            ("fractured rib", "fracture of the ribs"),
            ("+fractured {ribs} ribs", "+displaced fractures of the {ribs} ribs"),
        ),
        "Support Devices": Wording(("{device}",), ("tube or line", "device")),
    },
}
