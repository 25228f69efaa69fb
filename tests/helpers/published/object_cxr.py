"""Object-CXR: 25 images."""

from __future__ import annotations

from pathlib import Path

from miniatures import write_picture, write_text

FIRST = "0 9 4 2 12;1 10 2 15 17;2 1 1 6 1 6 3"
"""A rectangle whose corners come in the wrong order, an ellipse, a triangle."""


def mini(root: Path, train: int = 20, first: str = FIRST, test_too: bool = True) -> Path:
    names = {"train": range(1, train + 1), "dev": range(8001, 8004), "test": range(9001, 9003)}
    for split, numbers in names.items():
        if split == "test" and not test_too:
            continue
        rows = ["image_path,annotation" if split == "test" else "image_name,annotation"]
        for number in numbers:
            shown = first if number == 1 else "0 1 1 4 4" if number % 2 else ""
            rows.append(f"{'test/' if split == 'test' else ''}{number:05d}.jpg,{shown}")
            write_picture(root / f"{split}/{number:05d}.jpg")
        write_text(root / f"{split}.csv", "\n".join(rows))
    return root
