"""Indiana: three reports, one of them without an image."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text


def xml(number: int, images: list[str], code: str = "normal", impression: str = "No acute disease.") -> str:
    parents = "".join(f'<parentImage id="{name}"><caption>Xray Chest PA</caption></parentImage>' for name in images)
    texts = {"COMPARISON": "None.", "INDICATION": "XXXX pain", "FINDINGS": "", "IMPRESSION": impression}
    body = "".join(f'<AbstractText Label="{name}">{text}</AbstractText>' for name, text in texts.items())
    codes = f"<MeSH><major>{code}</major><automatic>x</automatic></MeSH>"
    return f'<eCitation><uId id="CXR{number}"/><Abstract>{body}</Abstract>{codes}{parents}</eCitation>'


REPORTS = {
    1: xml(1, ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"]),
    2: xml(2, ["CXR2_IM-0652-1001"], "Cardiomegaly/mild", "Enlarged heart."),
    10: xml(10, []),
}


def mini(root: Path) -> Path:
    for number, text in REPORTS.items():
        write_text(root / f"ecgen-radiology/{number}.xml", text)
    for name in ("CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001", "CXR2_IM-0652-1001"):
        write_picture(root / f"NLMCXR_png/{name}.png")
    return root
