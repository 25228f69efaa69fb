"""The stores that a training reads: one of what its method is trained on, and perhaps one of volumes without text."""

from __future__ import annotations

import math

from lingula.core.errors import UserError
from lingula.data.samples import BatchOrder
from lingula.data.store import Store
from lingula.data.text.statement_files import read_statements
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_store import VolumeStore
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.methods.registry import reads_volumes
from lingula.models.volume_config import check_divisible
from lingula.training.config import PretrainConfig


def training_store(config: PretrainConfig) -> Store | VolumeStore:
    """Open the store of radiographs, or of CT volumes, that a method is trained on.

    Raises:
        UserError: It cannot be opened, or holds the other kind; settings that do not go with the kind.
    """
    volumes = reads_volumes(config.method)
    if not volumes:
        _check_radiographs(config)
    store = VolumeStore.open(config.data.store) if volumes else Store.open(config.data.store)
    if isinstance(config.method, ColipriMethodConfig):
        _check_colipri(config, config.method)
        if isinstance(store, VolumeStore):
            _check_one_shape(volume_crop(config, config.method), store)
    return store


def volume_crop(config: PretrainConfig, method: ColipriMethodConfig) -> VolumeCrop:
    """Return what is shown of a volume; a whole one is padded to whole patches."""
    multiple = math.lcm(*method.volume_encoder.patch)
    return VolumeCrop(config.crop.model_copy(update={"whole_multiple": multiple}))


def _check_colipri(config: PretrainConfig, method: ColipriMethodConfig) -> None:
    """Refuse what could not be trained, before anything takes time."""
    remedy = "Give --crop.size of {lower} or {upper} voxels, or another --method.encoder.patch-size."
    check_divisible(config.crop.shape, method.volume_encoder.patch, "a crop", remedy)
    if config.text_encoder.frozen:
        raise UserError("COLIPRI trains its text encoder, but this one is frozen", "Give --text-encoder.no-frozen.")
    if config.data.statements is not None:
        read_statements(config.data.statements)


def images_only_store(config: PretrainConfig, store: Store | VolumeStore) -> VolumeStore | None:
    """Open the store of volumes that are learned from without text; None where none is named.

    Raises:
        UserError: Nothing would learn from it, it cannot be opened, its grid is not that of the store with text, or it has fewer
            training volumes than a batch.
    """
    path = config.data.images_only
    if path is None:
        return None
    if isinstance(config.method, ColipriMethodConfig) and not config.method.masked_weight:
        problem = "volumes without text are learned from by masked-image modelling, which this training has not"
        raise UserError(problem, "Leave --images-only out, or choose --preset cm or crm.")
    other = VolumeStore.open(path)
    if isinstance(store, VolumeStore):
        for name, (ours, theirs) in store.storing.differences(other.storing).items():
            problem = f"{other.path} is stored with {name} {theirs}, {store.path} with {ours}"
            raise UserError(problem, f"Prepare them with the same --{name}.")
    images_only_order(config, other)
    return other


def images_only_order(config: PretrainConfig, store: VolumeStore) -> BatchOrder:
    """Return the order in which training volumes without text come.

    Raises:
        UserError: There are fewer of them than a batch needs.
    """
    size, seed = config.optimisation.batch_size, config.runtime.seed
    return BatchOrder(store.rows("train"), size, seed, what="volumes without text")


def _check_one_shape(crop: VolumeCrop, store: VolumeStore) -> None:
    shapes = {crop.shape_of(store.shape(int(row))) for row in store.rows("val")}
    if len(shapes) > 1:
        problem = f"--crop.evaluation whole: the validation volumes of {store.path} have {len(shapes)} shapes and make no batch"
        raise UserError(problem, "Validate with `centre`, and show whole volumes later: lingula evaluate --volumes whole.")


def _check_radiographs(config: PretrainConfig) -> None:
    name = config.method.name
    if config.data.images_only is not None:
        raise UserError(f"{name} learns nothing from images without text", "Leave --images-only out.")
    if config.data.text_view == "varied":
        raise UserError(f"the text view `varied` is for CT, not for {name}", "Choose another --data.text-view.")
    if config.data.statements is not None:
        raise UserError(f"{name} reads no short statements", "Leave --data.statements out.")
