"""How reports name the fourteen CheXpert findings, and how they say that the organ concerned is normal.

Irvin et al., "CheXpert", AAAI 2019. The phrases are our own; they were tuned on one half of the Indiana reports.
"""

from __future__ import annotations

from dataclasses import dataclass

NO_FINDING = "No Finding"
SUPPORT = "Support Devices"

_GAP = r"(?:,? [\w/-]+){0,4}?,? "
_IS = r"(?: [\w/-]+){0,5}? "
_NORMAL = r"(?:normal|unremarkable|within normal|wnl|stable and normal|nonenlarged|not enlarged)"
_LUNG = r"(?:opacit(?:y|ies)|opacifications?|infiltrates?|infiltrations?|infiltrative)"


@dataclass(frozen=True)
class Terms:
    """Expressions for one finding, in lower case, as `PhraseIndex` reads them.

    Args:
        present: Names of the finding; the last word decides whether a denial or a doubt covers it.
        absent: Says outright that it is not there ("heart size is normal").
        left_open: Says outright that it may be there ("borderline heart size").
        elsewhere: Regular expression; a sentence that has it speaks of another organ, and says nothing of the finding.
    """

    present: tuple[str, ...]
    absent: tuple[str, ...] = ()
    left_open: tuple[str, ...] = ()
    elsewhere: str = ""


LEXICON: dict[str, Terms] = {
    "Enlarged Cardiomediastinum": Terms(
        present=(
            r"(?:widened|enlarged|prominent|widening of the|enlargement of the|prominence of the)(?: \w+){0,2} mediastin\w+",
            (
                rf"(?:cardio ?-?mediastin\w+|mediastin\w+){_IS}(?:widened|enlarged|prominent|widening|enlargement"
                rf"|prominence|fullness)"
            ),
            r"mediastin\w+ (?:widening|enlargement|prominence|fullness|mass|lymphadenopathy|adenopathy)",
        ),
        absent=(
            rf"(?:normal|unremarkable){_GAP}(?:cardio ?-?mediastin\w+|mediastin\w+)",
            rf"(?:cardio ?-?mediastin\w+|mediastin\w+){_IS}{_NORMAL}",
        ),
    ),
    "Cardiomegaly": Terms(
        present=(
            "cardiomegaly",
            r"cardiac enlargement",
            r"(?:enlarged|enlargement of the) (?:heart|cardiac|cardio)[\w ]*",
            rf"(?:heart|cardiac silhouette|cardiac shadow|cardiac size|cardiac contour|cardiac){_IS}(?:enlarged|enlargement)",
            r"(?:heart|cardiac)(?: size| silhouette| shadow)? (?:is|appears|remains)(?: \w+)? (?:prominent|increased|large)",
            r"(?:prominent|increased|large) (?:heart|cardiac)(?: size| silhouette| shadow)?",
            rf"cardio ?-?mediastinal silhouette{_IS}(?:enlarged|enlargement)",
            r"(?:left|right|bi|ventricular|atrial)(?: ?ventricular| ?atrial)? (?:enlargement|prominence)",
        ),
        absent=(
            r"normal (?:heart|cardiac|cardio ?-?mediastinal)[\w ]*",
            rf"(?:heart|cardiac|cardio ?-?mediastinal|cardio ?-?pericardial){_IS}{_NORMAL}",
        ),
        left_open=(
            r"borderline(?: \w+)? (?:cardiomegaly|heart|cardiac|enlarged heart|enlargement|prominent heart)[\w ]*",
            (
                rf"(?:heart|cardiac|cardio ?-?mediastinal){_IS}(?:borderline|upper limits?|upper normal|top normal"
                rf"|top limits?)[\w ]*"
            ),
            r"upper limits? of normal(?: for)? (?:heart|cardiac)",
        ),
    ),
    "Lung Opacity": Terms(
        present=(
            r"(?:air ?-?space|alveolar|parenchymal|interstitial|lung|pulmonary|basilar|focal) (?:disease|process|infection)",
            _LUNG,
            r"infiltrates?",
            r"air ?-?space (?:consolidation|disease|opacit\w+)",
            (
                r"(?:interstitial|reticular|reticulonodular|bronchovascular|lung|perihilar)(?: lung)? (?:markings?"
                r"|pattern|prominence|thickening|changes)"
            ),
            (
                r"(?:increased|streaky|patchy|hazy|ill-defined|linear|basilar|retrocardiac|focal|bibasilar"
                r"|vague)(?: \w+){0,2} (?:density|densities)"
            ),
            r"(?:interstitial lung disease|pulmonary fibrosis|interstitial fibrosis)",
            r"(?:scar|scars|scarring|fibrotic|fibrosis)(?: changes)?",
            r"pneumonitis",
        ),
        absent=(
            r"clear (?:bilateral |and expanded |and well[ -]expanded )?lungs?",
            rf"(?:lungs?|lung fields){_IS}(?:clear|normal)(?! of)",
            r"normal lungs",
        ),
    ),
    "Lung Lesion": Terms(
        present=(
            r"(?:nodules?|nodular (?:density|densities|opacit\w+|lesions?))",
            r"(?:mass|masses|mass-like|masslike)",
            r"(?:tumou?rs?|neoplasms?|carcinoma|malignancy|metastas[ei]s|metastatic disease|granulomas?|granulomata)",
            r"(?:cavitary|cavitation|cavity)(?: lesion)?",
            r"(?:pulmonary|lung|parenchymal|nodular|focal) lesions?",
        ),
    ),
    "Edema": Terms(
        present=(
            r"(?:edema|oedema)",
            (
                r"(?:vascular|pulmonary|venous|pulmonary vascular|pulmonary venous|central vascular"
                r"|interstitial) (?:congestion|engorgement)"
            ),
            r"(?:congestive heart failure|congestive failure|heart failure|chf|fluid overload|volume overload|cephalization)",
            r"congestion",
            r"vascular prominence",
            (
                r"(?:increased|prominent|engorged|indistinct|congested|prominence of the)(?: \w+){0,2} vascul(?:arity"
                r"|ature|ar margin\w+)"
            ),
            r"vascula(?:ture|rity) (?:is |are |appears )?(?:\w+ )?(?:prominent|increased|engorged|congested|indistinct)",
        ),
        absent=(
            rf"(?:pulmonary )?vascula(?:rity|ture|r markings|r pattern){_IS}{_NORMAL}",
            r"normal (?:pulmonary )?vascula(?:rity|ture|r markings)",
        ),
    ),
    "Consolidation": Terms(present=(r"(?:consolidations?|consolidated|consolidative)",)),
    "Pneumonia": Terms(
        present=(r"(?:pneumonias?|bronchopneumonia|infection|infectious (?:process|etiolog\w+|disease)|pneumonic)",),
    ),
    "Atelectasis": Terms(
        present=(
            r"(?:atelectasis|atelectases|atelectatic(?: \w+)?|subsegmental collapse|lobar collapse|lung collapse)",
            r"(?:volume loss|loss of volume|collapse of)",
        ),
    ),
    "Pneumothorax": Terms(
        present=(r"(?:pneumothora(?:x|ces|xes)|hydropneumothora(?:x|ces)|hemopneumothorax|ptx)", r"pleural air(?: collections?)?")
    ),
    "Pleural Effusion": Terms(
        present=(
            (
                r"(?:pleural |parapneumonic )?(?:effusions?|hydropneumothorax"
                r"|hemothorax)(?<!pericardial effusion)(?<!pericardial effusions)"
            ),
            r"pleural fluid",
            r"fluid in the (?:\w+ )?fissures?",
        ),
        absent=(r"(?:costophrenic|cp)(?: \w+)? (?:angles?|sulci|sulcus)(?: \w+){0,3} (?:sharp|clear|intact|preserved)",),
        left_open=(
            r"blunting of (?:\w+ ){0,5}?(?:costophrenic|cp|sulc\w+|angles?)[\w ]*",
            rf"(?:costophrenic|cp)(?: \w+)? (?:angles?|sulcus|sulci|recess){_IS}(?:blunted|blunting)",
            r"(?:costophrenic|cp)(?: \w+)? (?:angle )?blunting",
            r"blunted (?:\w+ ){0,3}?(?:costophrenic|cp)",
        ),
    ),
    "Pleural Other": Terms(
        present=(
            r"pleural(?:[ -]parenchymal)? (?:thickening|scarring|scar|scars|plaques?|calcifications?|reaction|fibrosis)",
            r"(?:pleuro-?parenchymal|fibrothorax|calcified pleural|pleural-parenchymal)",
            r"(?:thickening|scarring|calcification|calcifications) of the (?:\w+ )?pleura",
            r"(?:apical|biapical) (?:pleural )?(?:thickening|capping|cap)",
        ),
        absent=(r"pleural (?:spaces?|surfaces?)(?: \w+){0,2} (?:clear|normal|unremarkable)",),
    ),
    "Fracture": Terms(
        present=(r"(?:fractures?|fractured|fx)", r"(?:compression|wedge) (?:deformit(?:y|ies)|fractures?)"),
        absent=(
            r"(?:bony|osseous|skeletal|bones?)(?: \w+){0,4}? intact",
            (
                r"(?:no|negative for) (?:acute )?(?:\w+ )?(?:bony|bone|osseous|skeletal) (?:abnormalit\w+|findings?"
                r"|injur\w+|lesions?)"
            ),
        ),
    ),
    SUPPORT: Terms(
        present=(
            (
                r"(?:catheters?|picc|port-?a-?cath|portacath|mediport|chest port|dialysis|infusion port"
                r"|central (?:venous )?line|central lines?)"
            ),
            r"(?:pacemakers?|pacer|pacing|icd|aicd|defibrillators?|pacing leads?|generator|battery pack)",
            (
                r"(?:tubes?|endotracheal|tracheostomy|nasogastric|enteric|orogastric|et tube|ng tube|chest tubes?"
                r"|drain|drains|stents?)"
            ),
            r"(?:prosthesis|prosthetic|valve replacement|aortic valve|mitral valve|arthroplasty|hardware|spinal fusion|fixation)",
            r"(?:surgical clips?|vascular clips?|sternotomy wires?|sutures?|clips)",
            r"(?:leads?|electrodes?|stimulator|device|devices|shunt|plate and screw\w*|rods?|wires?|filter|implants?|port)",
        ),
    ),
}
"""Finding to its expressions; `No Finding` follows from the others."""

FINDINGS = (NO_FINDING, *LEXICON)
"""The fourteen, in CheXpert's order."""
