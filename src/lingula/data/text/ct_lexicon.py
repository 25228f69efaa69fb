"""How chest CT reports name the 18 findings of CT-RATE (Hamamci et al., arXiv 2403.17834).

The phrases are our own; they were tuned on the 800 reports of CT-CLIP's training table, whose English is translated Turkish.
"""

from __future__ import annotations

from lingula.data.text.lexicon import Terms

_SOME = r"(?:,? [\w/().-]+){0,14}?,? "
"""A few words between the two halves of an expression."""
_FEW = r"(?:,? [\w/().-]+){0,5}?,? "
_CALCIUM = (
    r"(?:calcific|calcified|calcifications?|calcification|calcareous|atheroma|atheromas|atheromatous|atherosclerotic|atherosclerosis"
    r"|plaques?|noncalcified)"
)
_VESSEL = (
    r"(?:aorta|aortic|arch|arcus|vascular|vessels?|arteries|artery|arterial|lad|rca|cx|supraaortic|branches|iliac|carotid"
    r"|brachiocephalic|subclavian)"
)
_ARTERY = r"(?:aorta|aortic|arch|arcus|vascular|vessels?|supraaortic|branches|iliac|carotid|brachiocephalic|subclavian)"
_CORONARY = r"(?:coronary|coronaries|coroner|lad|rca|cx|circumflex)"

CT_LEXICON: dict[str, Terms] = {
    "Medical material": Terms(
        elsewhere=r"omental implant|peritoneal implant|in favor of (?:the )?implants?|belong to the implant|was removed",
        present=(
            r"(?:catheters?|cannula|pacemakers?|tracheostomy|icd|defibrillators?|electrodes?|stents?|prosthes[ei]s|prosthetic)",
            r"(?:sutures?|suturing|stitches|clips?|implants?|fixators?|screws?|coils?|sternotomy|hardware|valvuloplasty)",
            r"(?:nasogastric|endotracheal|chest|drainage|thorax|intubation|feeding|tracheal) (?:tubes?|drains?)",
            r"(?:operation|surgical|suture|foreign|metallic|medical|fixation|peg|stent|postoperative) (?:suture )?materials?",
            r"(?:metallic|metal) (?:\w+ )?(?:densit\w+|rings?|artifacts?|objects?|images?|structures?|stabilizers?|wires?)",
            r"(?:port chamber|venous port|port|drain|drains|cerclage|peg|vp shunt|shunt|valve replacement|mitral valve|battery)",
            r"(?:aortic valve|valve) (?:replacement|prosthesis)",
        ),
    ),
    "Arterial wall calcification": Terms(
        present=(
            rf"{_CALCIUM}{_SOME}{_ARTERY}(?! valve)",
            rf"{_ARTERY}(?! valve){_FEW}(?:calcific|calcified|calcifications?|atheroma\w*|atherosclero\w+|plaques?)",
            r"(?:atherosclerotic (?:changes|wall calcifications?)|atheromatous plaques?|atheroma plaques?)",
        ),
        elsewhere=r"^(?!.*(?:aorta|aortic arch|arcus|aortic wall|supraaortic|main vascular)).*(?:coronary|\blad\b)",
    ),
    "Cardiomegaly": Terms(
        present=(
            r"(?:cardiomegaly|cardiac enlargement)",
            (
                r"(?:heart|cardiac)(?:'s)?(?: \w+){0,2} (?:is |are |was |were |has |have |appears? )?(?:\w+ ){0,2}?"
                r"(?:larger|enlarged|increased|increase|wide)"
            ),
            r"(?:cardiothoracic|ctr|cti)(?: \w+){0,2} (?:is |was |has )?(?:\w+ ){0,2}?(?:increased|increase)",
            r"increased? (?:in )?(?:the )?(?:cardiothoracic|heart|ctr|cardiac)(?: size| sizes| index| ratio| dimensions?)?",
            r"enlarged heart",
        ),
        absent=(
            r"(?:heart|cardiac)(?: contours?| dimensions?| sizes?|,| and)*(?: \w+){0,4} (?<!than )(?:normal|natural)",
            r"(?:cardiothoracic|ctr|cti)(?: \w+){0,4} (?<!than )(?:normal|natural)",
        ),
    ),
    "Pericardial effusion": Terms(
        present=(
            rf"pericardial(?:[-/ ]\w+| and pleural| or pleural)?{_FEW}(?:effusions?|fluid)",
            r"(?:effusions?|fluid)(?: \w+){0,4} (?:pericardial|pericardium)(?: \w+)?",
            r"pericardium(?: \w+){0,4} (?:effusion|fluid)",
            r"(?:effusions?|fluid)(?= [^.]*pericardi)",
            r"pericardial (?:\w+ )?(?:effusions?|smearing)",
        ),
    ),
    "Coronary artery wall calcification": Terms(
        present=(
            rf"{_CALCIUM}{_SOME}{_CORONARY}",
            rf"{_CORONARY}{_FEW}(?:calcific|calcified|calcifications?|atheroma\w*|atherosclero\w+|plaques?)",
        ),
    ),
    "Hiatal hernia": Terms(present=(r"(?:hiatal|hiatus|paraesophageal) hernia", r"sliding(?: type)? hernia")),
    "Lymphadenopathy": Terms(
        present=(
            r"(?:lymphadenopath(?:y|ies)|adenopathy|laps?|lymphadenomegaly|lams?)",
            r"lymph nodes?",
        ),
    ),
    "Emphysema": Terms(
        present=(
            r"(?:emphysema|emphysematous)(?: changes?| areas?| findings?| appearance)?",
            r"(?:bullae|bulla|bullous|blebs?|bleb)(?: formations?)?",
        ),
    ),
    "Atelectasis": Terms(
        present=(
            r"(?:atelectasis|atelectases|atelectatic|atelectasia|atelectasic|atelectasies)",
            r"(?:collapsed|collapse)",
        ),
        elsewhere=r"vertebr|corpus|fracture|bowel|gallbladder|veins?\b|stomach|compression",
    ),
    "Lung nodule": Terms(
        present=(
            r"(?:nodules?|noduls?|nodular (?:lesions?|formations?|structures?|appearances?|images?))",
            r"(?:micronodules?|micronodular)",
        ),
        elsewhere=(
            r"^(?!.*(?:lung|pulmonary|parenchymal nodule|subpleural|fissure)).*(?:thyroid|adrenal|breast|liver|hepatic|spleen"
            r"|splenic|renal|kidney|mediastin|abdomin|omental|mesenter|subcutaneous|skin|accessory|gland|isthmus|peritone|hypodense|pancrea)"
        ),
    ),
    "Lung opacity": Terms(
        present=(
            r"(?:ground|frosted)[- ]?glass(?! nodul)",
            r"(?:opacit(?:y|ies)|opacifications?)",
            r"(?:crazy paving|depend[ae]nt densit(?:y|ies)(?: increases?)?|depend[ae]nt nonspecific densit(?:y|ies))",
        ),
    ),
    "Pulmonary fibrotic sequela": Terms(
        elsewhere=r"kidney|renal|spleen|\brib|humer|fracture|liver|lymph node",
        present=(
            r"(?:sequelae?|sequela|sequels?|sequelea|sequel)",
            r"(?:fibrosis|fibrotic|fibroatelectasis|fibroatelectatic|pleuroparenchymal|parenchymal bands?|scars?|scarring)",
        ),
    ),
    "Pleural effusion": Terms(
        elsewhere=r"^(?!.*(?:pleura|hemithora)).*(?:pericard|perirenal|heart|perihepatic|joint)",
        present=(
            r"(?:pleural|pleura|hemithorax|hemithoraces)(?:[-/ ]\w+){0,6}? (?:effusions?|fluid)",
            r"(?:effusions?|effusion)(?<!pericardial effusion)(?<!pericardial effusions)",
            r"(?:hydrothorax|hydropneumothorax|hemothorax|empyema|pleural fluid)",
        ),
    ),
    "Mosaic attenuation pattern": Terms(
        present=(r"mosaic(?: \w+){0,2} (?:attenuations?|perfusion|patterns?|density|densities)", r"mosaic", r"air trapping"),
    ),
    "Peribronchial thickening": Terms(
        present=(
            r"(?:peribronchial|peribronchovascular)(?: \w+){0,4} (?:thicken\w+|thickness)",
            r"thick(?:enings?|ness)(?: \w+){0,5} peribronchial",
            r"peribronchial (?:cuffing|sheath\w*)",
        ),
    ),
    "Consolidation": Terms(present=(r"(?:consolidations?|consolidative|consolidated|consolidation)",)),
    "Bronchiectasis": Terms(present=(r"(?:bronchiectasis|bronchiectases|bronchiectatic|bronchiectasia|bronchiolectasis)",)),
    "Interlobular septal thickening": Terms(
        present=(
            (
                r"(?:interlobular|interlobar|septal|interseptal|inter lobular)(?: \w+){0,4} (?:thicken\w+|thickness"
                r"|clarification|prominence)"
            ),
            r"thick(?:en\w+|ness)(?: \w+){0,4} (?:septa|septae|septum|interlobular|septal)(?: \w+)?",
            r"(?:septal lines|kerley)",
        ),
    ),
}
"""Finding to its expressions, as `PhraseIndex` reads them."""

CT_FINDINGS = tuple(CT_LEXICON)
"""The eighteen, in CT-RATE's order."""
