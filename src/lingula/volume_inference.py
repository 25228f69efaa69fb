"""The loaded model of CT volumes: one object with its preprocessing and text encoder inside."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.core.types import RowNumbers, VolumeGrid, Volumes
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_reader import Volume, read_volume
from lingula.data.volume_storing import VolumeStoring
from lingula.data.volumes_in_memory import ReadableVolumes, VolumesInMemory
from lingula.evaluation.arrays import EncodedTokens
from lingula.evaluation.config import SeenOfVolumes
from lingula.evaluation.volume_encoder import HiddenFiller, ReportWriter, VolumeTrainable
from lingula.loaded import LoadedRun, check_several
from lingula.methods.colipri import ColipriMethod
from lingula.training.run import Run
from lingula.training.stores import volume_crop

if TYPE_CHECKING:
    from lingula.data.volume_store import VolumeStore

VolumeInput: TypeAlias = str | Path | np.ndarray | Volume
"""A CT volume: a path (NIfTI, NRRD, MetaImage), a `Volume`, or its voxels `x y z` in Hounsfield units on the model's own grid.

Paths and `Volume`s are brought to the orientation and voxel size of the store of the training; an array already has them.
"""


class VolumeModel(LoadedRun):
    """A trained encoder of CT volumes; made by `lingula.load`.

    Args:
        run: The run folder it comes from.
        checkpoint: `best` (by validation), `last` or `initial`.
        seen: What the encoder is shown of a volume: all of it at once (`whole`); all of it in windows of the training's crops
            that do not overlap, their tokens put together before pooling (`windows`); or the crop in the middle (`centre`).
            None: what the training validated with, `crop.evaluation` of its configuration.

    Raises:
        UserError: The run has no such checkpoint, or `seen` is none of the three.
    """

    method: ColipriMethod

    def __init__(self, run: Run, checkpoint: str = "best", seen: SeenOfVolumes | None = None) -> None:
        super().__init__(run, checkpoint)
        self.storing = VolumeStoring(run.storing)
        self.orientation: str = run.storing.orientation
        self.seen: SeenOfVolumes = _known(seen or run.config.crop.evaluation)
        if self.seen != "whole":
            self.fingerprint = sha256_of(self.fingerprint, self.seen)  # caches of embeddings go by it

    def encode_image(
        self, images: Sequence[VolumeInput], seen: SeenOfVolumes | None = None
    ) -> Float[np.ndarray, "images latent"]:
        """Image latents, L2-normalised.

        Args:
            images: Volumes.
            seen: As in `VolumeModel`; None: as the model was loaded.

        Raises:
            UserError: A volume cannot be read, its values are no Hounsfield units, `seen` is none of the three, or this is no
                list of volumes.
        """
        check_several(images, "volume", axes=3)
        shown = _known(seen or self.seen)
        stored = VolumesInMemory([self._stored(image) for image in images])
        return self._embed(stored, range(len(stored)), shown)[1]

    def embed_rows(self, store: VolumeStore, rows: RowNumbers) -> tuple[np.ndarray, np.ndarray]:
        """Mean tokens `rows features` and L2-normalised latents `rows latent` of volumes of a store.

        Raises:
            UserError: The store's orientation or voxel size is not that of the training.
        """
        self._check_storing(store)
        return self._embed(store, [int(row) for row in rows], self.seen)

    def check_tokens(self, store: VolumeStore) -> None:
        """Check that all volumes of a store have the same number of tokens, shown as the model was loaded.

        Raises:
            UserError: They have not.
        """
        if self.seen == "centre":
            return
        crop = self._crop(self.seen)
        if len({crop.shape_of(store.shape(row)) for row in range(len(store))}) > 1:
            problem = f"shown as {self.seen}, volumes of store {store.path} have different numbers of tokens"
            raise UserError(problem, "Show crops, which all have one size: --volumes centre.")

    def embed_tokens(self, store: VolumeStore, rows: RowNumbers) -> EncodedTokens:
        """All tokens of volumes of a store, `rows tokens features`, before projection and pooling.

        Raises:
            UserError: The store's orientation or voxel size is not that of the training.
        """
        self._check_storing(store)
        grids = self._grids(store, rows.tolist(), self.seen)
        return np.concatenate([grid.flatten(2).transpose(1, 2).float().cpu().numpy() for grid in grids])

    def volume_trainable(self, store: VolumeStore) -> VolumeTrainable:
        """Return a copy of the volume encoder, for segmentation.

        Raises:
            UserError: The store's orientation or voxel size is not that of the training.
        """
        self._check_storing(store)
        return VolumeTrainable(copy.deepcopy(self.method.image_encoder.backbone), VolumeCrop(self.run.config.crop))

    def report_writer(self, store: VolumeStore) -> ReportWriter | None:
        """Return the parts that write reports, not copied; None where the run was trained without report generation.

        Raises:
            UserError: The store's orientation or voxel size is not that of the training.
        """
        self._check_storing(store)
        method = self.method
        if method.report_decoder is None:
            return None
        window = self.run.config.crop.shape if self.seen == "windows" else None
        return ReportWriter(method.image_encoder, method.report_decoder, method.text_encoder, self._crop(self.seen), window)

    def hidden_filler(self, store: VolumeStore) -> HiddenFiller | None:
        """Return the parts that fill in hidden patches, not copied; None for a run without masked-image modelling.

        Raises:
            UserError: The store's orientation or voxel size is not that of the training.
        """
        self._check_storing(store)
        method = self.method
        if method.masked_decoder is None:
            return None
        return HiddenFiller(method.image_encoder, method.masked_decoder, method.config.masked_share, self._crop("centre"))

    def _check_storing(self, store: VolumeStore) -> None:
        for name, (ours, theirs) in self.storing.config.differences(store.storing).items():
            problem = f"store {store.path} is stored with {name} {theirs}, the model was trained on {ours}"
            raise UserError(problem, f"Prepare it with --{name} {ours}.")

    def _stored(self, image: VolumeInput) -> Volume:
        """What a store would hold of a volume."""
        if isinstance(image, np.ndarray):
            spacing = self.storing.config.spacing
            sides = (1.0,) * 3 if spacing is None else np.broadcast_to(spacing, 3)
            along = {"RAS": np.eye(3), "SAR": np.eye(3)[[2, 1, 0]]}[self.orientation]
            affine = np.eye(4)
            affine[:3, :3] = along * np.asarray(sides)
            return self.storing(Volume(image, affine))
        return self.storing(image if isinstance(image, Volume) else read_volume(image))

    def _embed(self, volumes: ReadableVolumes, rows: Sequence[int], seen: SeenOfVolumes) -> tuple[np.ndarray, np.ndarray]:
        """Mean tokens and pooled vectors."""
        features, latents = [], []
        for grid in self._grids(volumes, rows, seen):
            with torch.inference_mode():
                pooled, projected = self.method.pooled_and_latents(grid)
            features.append(pooled.float().cpu().numpy())
            latents.append(projected.float().cpu().numpy())
        return np.concatenate(features), np.concatenate(latents)

    def _grids(self, volumes: ReadableVolumes, rows: Sequence[int], seen: SeenOfVolumes) -> Iterator[VolumeGrid]:
        """Tokens of one volume at a time: they differ in shape, and one may fill the memory."""
        crop = self._crop(seen)
        for row in rows:
            shown = crop.load(volumes, [row], None).to(self.device)
            with torch.inference_mode():
                grid = self.method.image_encoder.features(shown, self._window(shown) if seen == "windows" else None)
            yield grid

    def _crop(self, seen: SeenOfVolumes) -> VolumeCrop:
        """What is read of a volume to be shown so."""
        shown = volume_crop(self.run.config, self.method.config).config
        return VolumeCrop(shown.model_copy(update={"evaluation": "centre" if seen == "centre" else "whole"}))

    def _window(self, shown: Volumes) -> tuple[int, int, int]:
        """The crop of the training, but no larger than the volume."""
        x, y, z = (min(side, there) for side, there in zip(self.run.config.crop.shape, shown.shape[2:], strict=True))
        return x, y, z


def _known(seen: SeenOfVolumes) -> SeenOfVolumes:
    names = get_args(SeenOfVolumes)
    if seen not in names:
        raise UserError(f"a volume cannot be shown as {seen!r}", f"Choose one of {', '.join(names)}.")
    return seen
