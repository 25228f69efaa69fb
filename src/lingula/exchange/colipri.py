"""COLIPRI's released encoder (package colipri 0.1.3): its weights read, run with the same numbers, and written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from lingula.core.checkpoint import FORMAT, names_of_non_finite, read_pickled_tensors, write_tensors
from lingula.core.errors import UserError
from lingula.core.types import TokenIds, VolumeGrid, Volumes
from lingula.exchange.colipri_config import ColipriConfig
from lingula.models.pooled_text_encoder import PooledTextEncoder
from lingula.models.volume_encoder import VolumeEncoder
from lingula.models.volume_tower import VolumeTower

LARGEST_VALUE = 10.0
"""Volumes in [-1, 1] are far from it, and Hounsfield units far beyond; what lies between is let through."""
PICKLES = (".pth", ".pt")
CONSTANTS = ("text_encoder.backbone.embeddings.position_ids",)
"""Counters that older transformers saved beside the weights; they hold nothing learned and are left out."""
SHOWN = 3
"""How many names an error lists."""


class Colipri(nn.Module):
    """Image and text encoder with one joint space; made by `load_colipri`, state-dict names as in colipri 0.1.3.

    Args:
        config: Sizes.
    """

    softmax_temperature: Tensor

    def __init__(self, config: ColipriConfig) -> None:
        super().__init__()
        self.config = config
        encoder = VolumeEncoder(config.image_encoder.encoder())
        self.image_encoder = VolumeTower(encoder, config.projection_dim, config.image_pooler_heads)
        self.text_encoder = PooledTextEncoder(config.text_encoder, config.text_pooler_heads)
        self.register_buffer("softmax_temperature", torch.tensor(1.0))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.softmax_temperature.device

    def encode_image(
        self,
        images: Volumes,
        pool: bool = False,
        project: bool = False,
        normalize: bool = False,
        window_size: int | tuple[int, int, int] | None = None,
    ) -> VolumeGrid | Float[Tensor, "batch latent"]:
        """Encode preprocessed volumes.

        Args:
            images: `batch 1 x y z` in [-1, 1], as `lingula.data.volume_transform` makes them.
            pool: One vector per volume rather than one per patch; needs `project`.
            project: Go on into the space shared with texts; else the encoder's own tokens.
            normalize: Divide each vector by its length.
            window_size: Voxels of windows that are encoded alone, without overlap; their tokens are put together before
                projection and pooling. None: the volume is encoded whole.

        Returns:
            `batch features x y z` (of patches), or `batch latent` when pooled.

        Raises:
            UserError: Values that are no finite numbers or that are Hounsfield units, pooling without projection, another number
                of channels, a size that is no multiple of the patch, or a window that is larger than the volume.
        """
        images = images.to(self.device, self.image_encoder.projector.weight.dtype)
        _check_values(images)
        embedded: Tensor = self.image_encoder(images, pool=pool, project=project, normalize=normalize, window_size=window_size)
        return embedded

    def encode_text(
        self, token_ids: TokenIds, attention_mask: Tensor | None = None, pool: bool = True, normalize: bool = True
    ) -> Float[Tensor, "batch latent"] | Float[Tensor, "batch tokens latent"]:
        """Encode tokenised texts.

        Args:
            token_ids: `batch tokens`.
            attention_mask: `batch tokens`, 1 for tokens and 0 for padding, which then has no influence; None: all are tokens.
            pool: One vector per text rather than one per token.
            normalize: Divide by the length along axis 1. Without pooling that is the axis of *tokens*, as in colipri 0.1.3:
                give `normalize=False` there and normalise the last axis.

        Returns:
            `batch latent`, or `batch tokens latent` without pooling.

        Raises:
            UserError: Token numbers outside the vocabulary, too long a text, or a mask that does not fit.
        """
        mask = None if attention_mask is None else attention_mask.to(self.device)
        embedded: Tensor = self.text_encoder(token_ids.to(self.device), mask, pool=pool, normalize=normalize)
        return embedded

    def compute_similarities(
        self, images: VolumeGrid | Float[Tensor, "images latent"], texts: Float[Tensor, "prompts latent"]
    ) -> Float[Tensor, "images prompts *grid"]:
        """Inner products of images, or of each of their patches, with prompts: cosines where both are normalised."""
        return torch.einsum("bc...,pc->bp...", images, texts)

    def classify(
        self, images: VolumeGrid | Float[Tensor, "images latent"], texts: Float[Tensor, "prompts latent"]
    ) -> Float[Tensor, "images prompts *grid"]:
        """Softmax over prompts of similarity / `softmax_temperature`; of a grid, at each patch."""
        return (self.compute_similarities(images, texts) / self.softmax_temperature).softmax(dim=1)


def load_colipri(weights: str | Path, config: str | Path | ColipriConfig | None = None) -> Colipri:
    """Load weights that the package colipri, or `save_colipri`, wrote; in evaluation mode, on the CPU, fp32.

    Args:
        weights: A `.safetensors` file, or a `.pth` or `.pt` of tensors alone.
        config: Sizes, or the path of a YAML file with them; None: those that `save_colipri` wrote into the file, else the
            released model's.

    Raises:
        UserError: The file is missing, damaged, or does not fit the sizes.
    """
    path = Path(weights)
    tensors, stored = _read(path)
    if isinstance(config, str | Path):
        config = ColipriConfig.from_yaml(Path(config))
    with torch.device("meta"):  # random numbers that the file replaces would take half a minute
        model = Colipri(config or stored or ColipriConfig())
    _check_fit(path, tensors, model.state_dict())
    model.load_state_dict(tensors, assign=True)
    model.softmax_temperature = model.softmax_temperature.float()
    _check_temperature(path, model.softmax_temperature)
    model.text_encoder.restore_counters()
    return model.eval()


def save_colipri(model: Colipri, path: str | Path, volumes: Mapping[str, Any] | None = None) -> None:
    """Write a safetensors file that `colipri.get_model(path)` and `load_colipri` read; the sizes go into its header.

    Args:
        model: What to write.
        path: The file.
        volumes: How volumes are prepared for it (orientation, spacing, hu_range), for `stored_volumes`; None: not said.

    Raises:
        UserError: A number in it is not finite, or the file is not named `.safetensors`.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} is not named .safetensors", "The package tells formats apart by the name.")
    tensors = model.state_dict()
    if bad := names_of_non_finite(tensors):
        raise UserError(f"{bad[0]} holds numbers that are not finite", "Take an earlier checkpoint.")
    said = {"colipri": model.config.model_dump(mode="json"), **({} if volumes is None else {"volumes": dict(volumes)})}
    sizes = json.dumps({"version": 1, **said})
    write_tensors(path, tensors, {"format": "pt", FORMAT: sizes})


def _read(path: Path) -> tuple[dict[str, Tensor], ColipriConfig | None]:
    """Read tensors without the constants, and the sizes where `save_colipri` wrote them."""
    if not path.is_file():
        raise UserError(f"no such file: {path}", "Give the weights as .safetensors, .pth or .pt.")
    if path.suffix in PICKLES:
        tensors, stored = read_pickled_tensors(path), None
    elif path.suffix == ".safetensors":
        try:
            tensors, stored = load_file(path), _stored_sizes(path)
        except SafetensorError as error:
            raise UserError(f"{path} is no safetensors file ({error})", "It is cut short or damaged.") from None
    else:
        raise UserError(f"{path} is not named .safetensors, .pth or .pt", "Give one of these.")
    if bad := names_of_non_finite(tensors):
        raise UserError(f"{path} holds numbers that are not finite (first: {bad[0]})", "Download or save it again.")
    kept = {name: value for name, value in tensors.items() if name not in CONSTANTS}
    return {name: value.float() if value.is_floating_point() else value for name, value in kept.items()}, stored


def _check_values(images: Tensor) -> None:
    if not images.numel():
        return  # the encoder says what is wrong with its shape
    low, high = (value.item() for value in images.aminmax())
    if not math.isfinite(low) or not math.isfinite(high):
        raise UserError("volumes hold values that are no finite numbers", "Replace them, e.g. by -1 outside the field of view.")
    if max(-low, high) > LARGEST_VALUE:
        problem = f"volumes hold values from {low:g} to {high:g}, where the encoder was trained on -1 to 1"
        raise UserError(problem, "Bring Hounsfield units there first: lingula.data.volume_transform.VolumeTransform.")


def _check_temperature(path: Path, temperature: Tensor) -> None:
    if temperature.item() <= 0:
        problem = f"{path} has a softmax temperature of {temperature.item():g}"
        raise UserError(problem, "Colipri's load_weights and save_weights cut 0.07 to 0: take the file that was given to it.")


def stored_volumes(path: Path) -> dict[str, Any]:
    """Return how volumes are prepared for a file's encoder, as far as `save_colipri` was told; nothing for others' files."""
    found: dict[str, Any] = _header(path).get("volumes", {}) if path.suffix == ".safetensors" else {}
    return found


def _header(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        header = (file.metadata() or {}).get(FORMAT)
    values: dict[str, Any] = json.loads(header) if header else {}
    return values


def _stored_sizes(path: Path) -> ColipriConfig | None:
    values = _header(path)
    return ColipriConfig.from_values(values["colipri"], f"the header of {path}") if "colipri" in values else None


def _check_fit(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Compare names and shapes.

    Raises:
        UserError: Names are missing or unexpected (the first few are listed), or a shape is another.
    """
    if not any(name.startswith("image_encoder.backbone.") for name in found):
        raise UserError(f"{path} holds no colipri weights", "Of a model trained here, give its run's folder to lingula.load.")
    remedy = "Give the sizes it was made with: load_colipri(weights, config=FILE.yaml)."
    missing, unexpected = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    kinds = [("missing", missing), ("unexpected", unexpected)]
    parts = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds if names]
    if parts:
        raise UserError(f"{path} does not fit this colipri model: {' and '.join(parts)}", remedy)
    for name, value in found.items():
        if value.shape != wanted[name].shape:
            shapes = f"{tuple(value.shape)} in the file, {tuple(wanted[name].shape)} in the model"
            raise UserError(f"{path} does not fit this colipri model: {name} is {shapes}", remedy)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
