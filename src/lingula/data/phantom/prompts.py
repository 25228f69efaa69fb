"""Zero-shot prompts for the findings of the phantom, in phrasings that no training report uses."""

from __future__ import annotations

from lingula.core.wording import capital

_NAMES: dict[str, tuple[tuple[str, str], ...]] = {
    "Aortic Calcification": (
        ("calcified plaque of the aortic arch", "calcified plaque of the aorta"),
        ("calcifications along the aortic knob", "calcifications of the aortic knob"),
    ),
    "Atelectasis": (
        ("atelectatic change at the lung base", "atelectatic change"),
        ("bands of atelectasis in the lower lung", "basal atelectasis"),
    ),
    "Cardiomegaly": (
        ("cardiac enlargement", "cardiac enlargement"),
        ("enlarged cardiac silhouette", "enlarged cardiac silhouette"),
    ),
    "Consolidation": (("consolidative opacity", "consolidative opacity"), ("lobar airspace opacity", "airspace opacity")),
    "Edema": (
        ("interstitial pulmonary edema", "interstitial edema"),
        ("congested pulmonary vessels with edema", "edema of the lungs"),
    ),
    "Emphysema": (
        ("upper lobe emphysema", "upper lobe emphysema"),
        ("emphysematous lungs with flat diaphragms", "emphysematous change"),
    ),
    "Enlarged Cardiomediastinum": (
        ("enlargement of the mediastinum", "enlargement of the mediastinum"),
        ("wide mediastinal contour", "wide mediastinum"),
    ),
    "Fibrosis": (
        ("fibrotic change at the lung bases", "fibrotic change"),
        ("reticular fibrosis of the lungs", "reticular fibrosis"),
    ),
    "Hiatal Hernia": (
        ("hernia of the hiatus behind the heart", "hernia of the hiatus"),
        ("hiatal hernia with an air-fluid level behind the heart", "hernia behind the heart"),
    ),
    "Lung Mass": (("lobulated mass in the lung", "mass in the lungs"), ("large pulmonary mass lesion", "lobulated mass")),
    "Lung Nodule": (("nodular opacity in the lung", "nodule in the lungs"), ("small lung nodule lesion", "nodular opacity")),
    "Lymphadenopathy": (
        ("lymphadenopathy at the hilum", "lymphadenopathy"),
        ("enlargement of hilar nodes", "enlargement of hilar nodes"),
    ),
    "Pleural Effusion": (
        ("fluid in the pleural space", "fluid in the pleural space"),
        ("pleural effusion with blunted costophrenic angle", "effusion in the pleural space"),
    ),
    "Pleural Thickening": (
        ("thickened pleura", "thickened pleura"),
        ("thickening of the apical or lateral pleura", "apical pleural rind"),
    ),
    "Pneumothorax": (
        ("air in the pleural space", "air in the pleural space"),
        ("pneumothorax of the hemithorax", "pneumothorax of either side"),
    ),
    "Rib Fracture": (("fractured ribs", "fractured ribs"), ("fracture of several ribs", "fracture of the ribs")),
    "Support Devices": (
        ("tubes, catheters or a pacemaker", "tubes, catheters or pacemaker"),
        ("a central line, tube or pacemaker device", "catheter, tube or device"),
    ),
}
_POSITIVE = ("{} is visible on this {}.", "The {} shows {}.", "The patient has {}.")
_NEGATIVE = ("{} is not visible on this {}.", "The {} shows no {}.", "The patient has no {}.")


def phrasings(ct: bool) -> dict[str, dict[str, list[str]]]:
    """Return finding to its positive and its negative prompts.

    Args:
        ct: Whether CT is asked about, not radiographs.
    """
    images = ("scan", "CT") if ct else ("film", "radiograph")
    return {
        finding: {
            "positive": [text for yes, _ in names for text in _say(_POSITIVE, yes, *images)],
            "negative": [text for _, no in names for text in _say(_NEGATIVE, no, *images)],
        }
        for finding, names in _NAMES.items()
    }


def _say(forms: tuple[str, str, str], name: str, film: str, image: str) -> tuple[str, str, str]:
    return forms[0].format(capital(name), film), forms[1].format(image, name), forms[2].format(name)
