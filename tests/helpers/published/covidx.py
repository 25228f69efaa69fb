"""COVIDx 9A: 22 images."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text


def mini(root: Path) -> Path:
    """COVIDx 9A: no header, patients with several images, a file name with blanks, one patient number in two collections."""
    train = [f"{number // 2} img{number}.png {('normal', 'pneumonia', 'COVID-19')[number % 3]} rsna" for number in range(20)]
    train += ["3 SARS-10.1148rg fig 8a.jpeg pneumonia cohen"]
    test = ["3 other.png COVID-19 bimcv"]
    write_text(root / "train_COVIDx9A.txt", "\n".join([*train, train[0]]))
    write_text(root / "test_COVIDx9A.txt", "\n".join(test) + "\n")
    for line in train:
        write_picture(root / "train" / " ".join(line.split()[1:-2]))
    write_picture(root / "test/other.png")
    return root
