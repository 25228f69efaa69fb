"""The words of phantom reports around the findings: devices, severities, sentence frames, normal sentences.

Every list exists twice: `train` is used in the training split only, `test` in validation and test only.
"""

from __future__ import annotations

from lingula.data.phantom.wordings import Style

DEVICES: dict[Style, dict[str, tuple[str, ...]]] = {
    "train": {
        "pacemaker": (
            "a {side} chest wall pacemaker with leads in the right atrium and right ventricle",
            "a {side} sided pacemaker",
            "a dual lead pacemaker {on}",
        ),
        "central venous catheter": (
            "a {side} internal jugular central venous catheter",
            "a {side} central venous line with the tip in the superior vena cava",
            "a {side} central line",
        ),
        "endotracheal tube": (
            "an endotracheal tube above the carina",
            "an endotracheal tube in standard position",
            "an endotracheal tube",
        ),
        "nasogastric tube": (
            "a nasogastric tube with the tip in the stomach",
            "a nasogastric tube",
            "an enteric tube below the diaphragm",
        ),
        "chest tube": ("a {side} chest tube", "a chest tube {on} directed to the apex", "a {side} pleural drain"),
    },
    "test": {
        "pacemaker": ("a pacemaker over the {side} chest with two leads", "pacemaker leads from the {side} chest wall"),
        "central venous catheter": (
            "a central venous catheter from the {side} side",
            "a {side} jugular line ending in the superior vena cava",
        ),
        "endotracheal tube": ("the tip of an endotracheal tube above the carina", "an endotracheal tube in good position"),
        "nasogastric tube": ("an enteric tube with the tip in the stomach", "a nasogastric tube ending below the diaphragm"),
        "chest tube": ("a pleural chest tube {on}", "a {side} thoracic drain"),
    },
}

SEVERITIES: dict[Style, dict[str, tuple[tuple[str, ...], ...]]] = {
    "train": {
        "degree": (("mild", "slight", "minimal"), ("moderate", ""), ("severe", "marked", "extensive")),
        "amount": (("small", "trace", "tiny"), ("moderate", "moderate sized"), ("large", "extensive")),
    },
    "test": {
        "degree": (("mild", "minor"), ("moderate",), ("severe", "pronounced")),
        "amount": (("small", "minimal"), ("moderate",), ("large", "sizeable")),
    },
}
AMOUNTS = frozenset({"Pleural Effusion", "Pneumothorax", "Hiatal Hernia"})
"""Findings that are small or large rather than mild or severe."""

FRAMES: dict[Style, tuple[str, ...]] = {
    "train": (
        "There {is} {np}.",
        "{Np} {is} noted.",
        "{Np} {is} present.",
        "{Np} {is} seen.",
        "{Np}.",
        "Again there {is} {np}.",
        "{Np}, new since the prior study.",
    ),
    "test": (
        "{Np} {is} identified.",
        "Note is made of {np}.",
        "{Np} {is} visible.",
        "The study shows {np}.",
        "One sees {np}.",
        "{Np} {is} now evident.",
    ),
}
HEDGES: dict[Style, tuple[str, ...]] = {
    "train": (
        "{Np} {is} suspected.",
        "There may be {np}.",
        "Possible {bare}.",
        "{Np} cannot be excluded.",
        "Findings suggest {np}.",
    ),
    "test": ("{Np} {is} possible.", "Appearances may reflect {np}.", "There is probably {np}."),
}
NEGATIONS: dict[Style, tuple[str, ...]] = {
    "train": (
        "No {a}.",
        "There is no {a}.",
        "No evidence of {a}.",
        "No {a} or {b}.",
        "There is no {a} or {b}.",
        "No {a}, {b} or {c}.",
        "No definite {a}.",
    ),
    "test": (
        "No {a} is identified.",
        "Neither {a} nor {b} is seen.",
        "The study is negative for {a}.",
        "No {a} and no {b}.",
        "Free of {a} and {b}.",
    ),
}
NORMAL: dict[Style, dict[str, tuple[str, ...]]] = {
    "train": {
        "heart": (
            "The heart size is normal.",
            "Heart size is within normal limits.",
            "The cardiac silhouette is normal in size.",
            "Normal heart size.",
        ),
        "mediastinum": (
            "The mediastinal contour is unremarkable.",
            "Mediastinal and hilar contours are normal.",
            "The hila are unremarkable.",
            "Normal mediastinal contours.",
        ),
        "lungs": (
            "The lungs are clear.",
            "Lungs are well aerated.",
            "Both lungs are clear.",
            "The lungs are well expanded and clear.",
        ),
        "pleura": ("The costophrenic angles are sharp.", "The pleural spaces are clear.", "Pleural surfaces are normal."),
        "bones": (
            "The osseous structures are intact.",
            "No acute bony abnormality.",
            "Bones are unremarkable.",
            "The visualized ribs are intact.",
        ),
        "view": ("{view} view of the chest.", "Single {view} radiograph.", "{view} chest radiograph is submitted."),
        "position": (
            "The patient is rotated.",
            "Lung volumes are low.",
            "The inspiration is adequate.",
            "Comparison is made with the prior study.",
        ),
        "CT view": ("CT of the chest.", "Computed tomography of the thorax without contrast."),
        "CT position": ("There is mild respiratory motion.", "Comparison is made with the prior study."),
    },
    "test": {
        "heart": ("The heart is of normal size.", "The heart is not enlarged.", "Cardiac size is normal."),
        "mediastinum": (
            "The mediastinum and hila are normal.",
            "No abnormality of the mediastinum.",
            "The mediastinum is of normal width.",
        ),
        "lungs": ("Clear lungs.", "The lung fields are clear.", "Normal aeration of both lungs."),
        "pleura": ("Sharp costophrenic angles.", "The pleura is normal.", "Both pleural spaces are free."),
        "bones": ("The ribs and spine are intact.", "The bony thorax is normal.", "Unremarkable bones."),
        "view": ("{view} projection of the chest.", "Chest radiograph, {view} projection."),
        "position": ("Inspiration is shallow.", "The film is slightly rotated.", "Compared with the earlier study."),
        "CT view": ("Unenhanced chest CT.", "Axial images of the chest were acquired."),
        "CT position": ("Slight breathing artefact.", "Compared with the earlier study."),
    },
}
SYSTEMS: dict[str, frozenset[str]] = {
    "heart": frozenset({"Cardiomegaly"}),
    "mediastinum": frozenset({"Enlarged Cardiomediastinum", "Lymphadenopathy", "Hiatal Hernia"}),
    "lungs": frozenset({"Consolidation", "Edema", "Emphysema", "Fibrosis", "Lung Mass", "Lung Nodule", "Atelectasis"}),
    "pleura": frozenset({"Pleural Effusion", "Pleural Thickening", "Pneumothorax"}),
    "bones": frozenset({"Rib Fracture"}),
}
"""A normal sentence about a system is written only where none of these findings is present."""
IMPRESSION_NORMAL: dict[Style, tuple[str, ...]] = {
    "train": (
        "No acute cardiopulmonary process.",
        "No acute cardiopulmonary abnormality.",
        "Normal chest radiograph.",
        "No acute intrathoracic process.",
        "Unremarkable study.",
    ),
    "test": ("No acute disease of the chest.", "Normal radiograph of the chest.", "Nothing acute."),
}
IMPRESSION: dict[Style, tuple[str, ...]] = {
    "train": (
        "{Np}.",
        "{Np} as above.",
        "Findings in keeping with {np}.",
        "{Np}, clinical correlation is advised.",
        "{Np}, follow up is recommended.",
    ),
    "test": ("In summary, {np}.", "{Np}, as described.", "Appearances of {np}."),
}
