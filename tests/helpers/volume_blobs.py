"""A small store of CT volumes with bright boxes in them, and a model that gives a tiny volume encoder away."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareVolumesConfig
from lingula.data.study import ImageReference, Region, Report, Scan, Study
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_crop_config import VolumeCropConfig
from lingula.data.volume_reader import Volume
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.volume_encoder import VolumeTrainable
from lingula.models.volume_config import VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder

SPACING = (2.0, 2.5, 3.0)
SPLITS = ("train",) * 8 + ("val",) * 4 + ("test",) * 6
NAMES = {"Nodule": 600, "Effusion": 100}
"""Finding to its Hounsfield units; what is around has -700."""


class BlobSource:
    """One volume per study: most hold a nodule, every second an effusion, each a box of its own grey value, with its mask."""

    name, citation, licence = "phantom-blobs", "nobody", "CC0"

    def __len__(self) -> int:
        return len(SPLITS)

    def __iter__(self) -> Iterator[Study]:
        for number, split in enumerate(SPLITS):
            there = self.findings(number)
            said = [f"{name} seen." if name in there else f"No {name.lower()}." for name in NAMES]
            yield Study(
                study_id=f"s{number}",
                patient_id=f"p{number}",
                images=[ImageReference(path=f"{number}.nii.gz", modality="ct", projection="CT")],
                report=Report(sections={"findings": " ".join(said)}),
                labels={name: int(name in there) for name in NAMES},
                split=split,
            )

    def settings(self) -> dict[str, object]:
        return {}

    @staticmethod
    def findings(number: int) -> list[str]:
        return [name for name, there in zip(NAMES, (number % 4 != 3, number % 2 == 0), strict=True) if there]

    def read(self, study: Study, image_index: int) -> Scan:
        number = int(study.study_id[1:])
        generator = np.random.default_rng(number)
        shape = (20 + number % 3, 16, 12 + number % 2)
        hu = (-700 + generator.integers(-60, 60, shape)).astype(np.int16)
        regions, masks = [], []
        for place, name in enumerate(self.findings(number)):
            side = generator.integers(4, 7, 3)
            half = np.array([shape[0] // 2, shape[1], shape[2]])
            start = generator.integers(0, half - side + 1)
            start[0] += shape[0] // 2 * place
            mask = np.zeros(shape, bool)
            mask[tuple(slice(a, a + b) for a, b in zip(start, side, strict=True))] = True
            hu[mask] = NAMES[name] + generator.integers(-60, 60, int(mask.sum()))
            box = (*map(float, start), *map(float, start + side))
            regions.append(Region(finding=name, box=box))
            masks.append(mask)
        return Scan(Volume(hu, np.diag([*SPACING, 1.0])), regions, masks)


def blob_store(folder: Path) -> VolumeStore:
    """Prepare the store."""
    return VolumeStore.open(
        prepare(BlobSource(), folder / "store", PrepareVolumesConfig(check_hounsfield=False), workers=1).store
    )


class BlobModel:
    """Gives copies of a random encoder away."""

    name, fingerprint = "blob", "encoder-blob"
    findings: tuple[str, ...] = ()

    def __init__(self, crop: VolumeCropConfig | None = None) -> None:
        torch.manual_seed(0)
        sizes = VolumeEncoderConfig(embed_dim=24, depth=1, num_heads=2, patch_size=4, drop_path=0.0)
        self.encoder = VolumeEncoder(sizes)
        self.crop = VolumeCrop(crop or VolumeCropConfig(size=12))

    def volume_trainable(self, store: VolumeStore) -> VolumeTrainable:
        return VolumeTrainable(copy.deepcopy(self.encoder), self.crop)
