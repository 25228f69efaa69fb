"""Small chests in Hounsfield units, and a source that holds them in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lingula.data.readers import UnreadableImage
from lingula.data.study import ImageReference, Region, Report, Scan, Study
from lingula.data.volume_reader import Volume

LAS = np.array([[-2.0, 0, 0, 60], [0, 2.5, 0, -40], [0, 0, 3, -50], [0, 0, 0, 1]])
"""x runs to the left, 2 mm; y to the front, 2.5 mm; z to the head, 3 mm."""


def chest(shape: tuple[int, int, int] = (40, 30, 24), seed: int = 0) -> np.ndarray:
    """Air around, muscle within, two lungs; int16 Hounsfield units with a little noise that no two seeds share."""
    hu = np.full(shape, -1000, np.int16)
    x, y, z = shape
    hu[x // 8 : -x // 8, y // 8 : -y // 8] = 40
    hu[x // 5 : 2 * x // 5, y // 4 : -y // 4, z // 6 : -z // 6] = -850
    hu[3 * x // 5 : 4 * x // 5, y // 4 : -y // 4, z // 6 : -z // 6] = -850
    return hu + np.random.default_rng(seed).integers(-9, 10, shape, dtype=np.int16)


class ChestSource:
    """One CT study per shape, with a mask, a box, and a text for every second; reading `broken` ones fails.

    Args:
        shapes: Voxels along x, y and z of each study.
        broken: Numbers of studies that cannot be read.
        affine: Of all volumes.
    """

    name, citation, licence = "chests", "nobody", "CC0"

    def __init__(self, shapes: Sequence[tuple[int, int, int]], broken: Sequence[int] = (), affine: np.ndarray = LAS) -> None:
        self.shapes, self.broken, self.affine, self.reads = list(shapes), list(broken), affine, 0

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[Study]:
        for number in range(len(self)):
            yield Study(
                study_id=f"s{number}",
                patient_id=f"p{number // 2}",
                images=[ImageReference(path=f"{number}.nii.gz", modality="ct", projection="CT")],
                report=Report(sections={"findings": f"Nodule number {number}."}) if number % 2 else None,
                labels={"nodule": 1 if number % 2 else 0},
                regions=[Region(finding="tumour", box=(2, 3, 4, 8.5, 9, 10))],
                split="train",
            )

    def settings(self) -> dict[str, object]:
        return {"shapes": [list(shape) for shape in self.shapes]}

    def read(self, study: Study, image_index: int) -> Scan:
        self.reads += 1
        number = int(study.study_id[1:])
        if number in self.broken:
            raise UnreadableImage("file is truncated")
        volume = Volume(chest(self.shapes[number], number), self.affine)
        mask = np.zeros(volume.voxels.shape, bool)
        mask[8:14, 10:15, 6:16] = True
        return Scan(volume, [Region(finding="lung", box=(0, 0, 0, 1, 1, 1), kind="anatomy")], [mask])
