"""The loaded model: one object with its preprocessing and text encoder inside."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.core.files import read_json
from lingula.core.types import Pixels
from lingula.data.augment import ImageTransform
from lingula.data.readers import UnreadableImage, read_radiograph
from lingula.evaluation.arrays import MeanCells
from lingula.evaluation.config import SeenOfVolumes
from lingula.evaluation.encoder import DenseTrainable, Trainable
from lingula.evaluation.grounding.heat_maps import phrase_grids, place_grids
from lingula.loaded import LoadedRun, Match, check_several
from lingula.methods.registry import reads_volumes
from lingula.methods.supervised import Supervised
from lingula.objectives import pseudo_masks
from lingula.training.run import CONFIG, Run
from lingula.volume_inference import VolumeModel

__all__ = ["Match", "Model", "VolumeModel", "load_model", "read_pixels", "runs_of"]

ImageInput: TypeAlias = str | Path | np.ndarray
"""A radiograph: a path (PNG, JPEG, DICOM), or its grey values `height width`, uint8 or uint16, bright is dense.

A path is read as the store of the training read its files. An array of the store's size and depth is taken for stored values.
"""

COMPARISON = "comparison.json"
"""In a folder of compared runs: `{"runs": [name, ...], "default": name}`."""


class Model(LoadedRun):
    """A trained encoder, ready for images and texts; made by `lingula.load`.

    Args:
        run: The run folder it comes from.
        checkpoint: `best` (by validation), `last` or `initial`.
        batch_size: How many images or texts go through the encoder at once.

    Raises:
        UserError: The run has no such checkpoint.
    """

    def __init__(self, run: Run, checkpoint: str = "best", batch_size: int = 64) -> None:
        super().__init__(run, checkpoint, batch_size)
        self.method.to(memory_format=torch.channels_last)
        self.reading = run.reading
        self.transform = ImageTransform(run.config.augment, run.config.data.image_size)
        if isinstance(self.method, Supervised):
            self.findings = self.method.findings

    @classmethod
    def load(cls, path: str | Path, checkpoint: str = "best") -> Model:
        """Load from a run folder, or the default run of a folder of compared runs.

        Raises:
            UserError: The path is not a run, its images are CT volumes, or it has no such checkpoint.
        """
        run = Run(runs_of(Path(path))[0])
        if reads_volumes(run.config.method):
            raise UserError(f"run {run.path} is of CT volumes, not of radiographs", "Give a run of radiographs.")
        return cls(run, checkpoint)

    def encode_image(self, images: Sequence[ImageInput]) -> Float[np.ndarray, "images latent"]:
        """Image latents, L2-normalised.

        Raises:
            UserError: An image cannot be read, or this is no list of images.
        """
        check_several(images, "image", axes=2)
        return self.embed_pixels([self._square(image) for image in images])[1]

    def heatmap(self, image: ImageInput, phrase: str, mean: MeanCells | None = None) -> Float[np.ndarray, "height width"]:
        """Cosine of a phrase with every place of an image, bilinear between the cells of the feature grid.

        A border that the store cut off gets the values of its edge.

        Args:
            image: The image.
            phrase: What to look for.
            mean: `latent rows columns`, the mean of `dense_pixels` over images that lie alike, whose map is taken off; None: the
                map stays as it is.

        Raises:
            UserError: The image cannot be read.
        """
        found: np.ndarray = self.heatmaps(image, [phrase], mean)[0]
        return found

    def heatmaps(
        self, image: ImageInput, phrases: Sequence[str], mean: MeanCells | None = None
    ) -> Float[np.ndarray, "phrases height width"]:
        """`heatmap` of several phrases; the image goes through the model once.

        Raises:
            UserError: The image cannot be read.
        """
        dense, latents = self.dense_pixels([self._square(image)])[0], self.encode_text(phrases)
        return self._onto(image, phrase_grids(dense if mean is None else dense - mean, latents))

    def attention_map(self, image: ImageInput) -> Float[np.ndarray, "height width"] | None:
        """How much the pooling looks at every place of an image, mean over its heads; None for a method that pools otherwise.

        Raises:
            UserError: The image cannot be read.
        """
        attention = self.attention_pixels([self._square(image)])
        if attention is None:
            return None
        found: np.ndarray = self._onto(image, attention.mean(axis=1))[0]
        return found

    def pseudo_mask(self, image: ImageInput) -> Float[np.ndarray, "height width"] | None:
        """The segmentation target that pre-training makes of the attention (0 to 1); None for a method without attention.

        Made as `mask_settings` says, at the size that the model sees; of several heads' masks the mean.

        Raises:
            UserError: The image cannot be read.
        """
        images = self._input([self._square(image)])
        with torch.inference_mode():
            attention = self.method.attention_maps(images)
            if attention is None:
                return None
            masks = pseudo_masks(attention, (images.shape[-2], images.shape[-1]), image=images, **self.mask_settings()[0])
        found: np.ndarray = self._onto(image, masks.mean(dim=1).float().cpu().numpy())[0]
        return found

    def mask_settings(self) -> tuple[dict[str, Any], bool]:
        """How pseudo masks are made, and whether the run says so: else the defaults of `pseudo_masks` hold."""
        method = self.run.config.method
        own = getattr(method, "mask", None) or getattr(method, "pseudo_mask", None)
        if not isinstance(own, Config):
            return {}, False
        known = set(inspect.signature(pseudo_masks).parameters) - {"attention", "size", "image"}
        return {name: value for name, value in own.model_dump().items() if name in known}, True

    def _onto(self, image: ImageInput, grids: Float[np.ndarray, "maps rows columns"]) -> Float[np.ndarray, "maps height width"]:
        """Bring maps on the feature grid to the pixels of an image as it was given."""
        pixels = read_pixels(image)
        stored = isinstance(image, np.ndarray) and self.reading.is_stored(image)
        rows, columns = (slice(0, length) for length in pixels.shape) if stored else self.reading.inside(pixels)
        placed = place_grids(grids, rows.stop - rows.start, columns.stop - columns.start, self.crop)
        around = [(cut.start, length - cut.stop) for cut, length in zip((rows, columns), pixels.shape, strict=True)]
        return np.pad(placed, [(0, 0), *around], mode="edge")

    @property
    def crop(self) -> float:
        """Side of the square in the middle that the model sees, as a share of the image's longer side."""
        return self.run.config.augment.crop

    def dense_pixels(self, pixels: Sequence[Pixels]) -> np.ndarray:
        """L2-normalised latents of grey values on the feature grid, `images latent rows columns`."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pixels), self.batch_size):
                parts.append(
                    self.method.dense_features(self._input(pixels[start : start + self.batch_size])).float().cpu().numpy()
                )
        return np.concatenate(parts)

    def attention_pixels(self, pixels: Sequence[Pixels]) -> np.ndarray | None:
        """Attention of the pooling on the feature grid, `images heads rows columns`; None for a method that pools otherwise."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pixels), self.batch_size):
                maps = self.method.attention_maps(self._input(pixels[start : start + self.batch_size]))
                if maps is None:
                    return None
                parts.append(maps.float().cpu().numpy())
        return np.concatenate(parts)

    def embed_pixels(self, pixels: Sequence[Pixels]) -> tuple[np.ndarray, np.ndarray]:
        """Pooled features `images image_features` and L2-normalised latents `images latent` of grey values."""
        features, latents = [], []
        with torch.inference_mode():
            for start in range(0, len(pixels), self.batch_size):
                pooled, projected = self.method.features_and_latents(self._input(pixels[start : start + self.batch_size]))
                features.append(pooled.cpu().numpy())
                latents.append(projected.cpu().numpy())
        return np.concatenate(features), np.concatenate(latents)

    def classify(self, features: Float[np.ndarray, "images image_features"]) -> Float[np.ndarray, "images findings"]:
        """Logits of a supervised model from its pooled features.

        Raises:
            UserError: The model is not a supervised one.
        """
        if not isinstance(self.method, Supervised):
            return super().classify(features)
        with torch.inference_mode():
            scores: np.ndarray = self.method.logits(torch.from_numpy(features).to(self.device)).cpu().numpy()
        return scores

    def trainable(self) -> Trainable:
        """Return a copy of the image encoder, for fine-tuning."""
        encoder = copy.deepcopy(self.method.image_encoder)
        return Trainable(encoder, encoder.dimension, self.transform)

    def dense_trainable(self) -> DenseTrainable:
        """Return a copy of the image encoder, and of the decoder where one was pre-trained, for segmentation and detection."""
        return DenseTrainable(
            copy.deepcopy(self.method.image_encoder), copy.deepcopy(self.method.pretrained_decoder()), self.transform
        )

    def _square(self, image: ImageInput) -> Pixels:
        """What the store would hold of an image; an array of its size and depth is taken for stored grey values."""
        pixels = read_pixels(image)
        stored = isinstance(image, np.ndarray) and self.reading.is_stored(image)
        return pixels if stored else self.reading.square(pixels)

    def _input(self, pixels: Sequence[Pixels]) -> Tensor:
        return self.transform.evaluate(pixels).to(self.device, memory_format=torch.channels_last)


def load_model(path: str | Path, checkpoint: str = "best", seen: SeenOfVolumes | None = None) -> Model | VolumeModel:
    """Load what a run folder holds, a model of radiographs or of CT volumes; of compared runs the default one.

    Args:
        path: The folder.
        checkpoint: `best` (by validation), `last` or `initial`.
        seen: What a model of CT volumes is shown of each; see `VolumeModel`.

    Raises:
        UserError: The path is not a run, the run has no such checkpoint, or `seen` is given for one of radiographs.
    """
    run = Run(runs_of(Path(path))[0])
    if reads_volumes(run.config.method):
        return VolumeModel(run, checkpoint, seen)
    if seen is not None:
        problem = f"run {run.path} is of radiographs, which are seen whole"
        raise UserError(problem, "Leave out what is for CT volumes (`seen`, --volumes).")
    return Model(run, checkpoint)


def runs_of(path: Path) -> list[Path]:
    """The run folders that a path means, the default one first: itself, or those of a folder of compared runs.

    Raises:
        UserError: The folder of compared runs does not say which they are.
    """
    if (path / CONFIG).is_file() or not (path / COMPARISON).is_file():
        return [path]
    listed = read_json(path / COMPARISON)
    names = [listed["default"], *(name for name in listed["runs"] if name != listed["default"])]
    return [path / name for name in names]


def read_pixels(image: ImageInput) -> Pixels:
    """Grey values of a path or an array, `height width`.

    Raises:
        UserError: The file cannot be read, or the array is no image.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16):
            problem = f"an image must be `height width` of uint8 or uint16, not {image.shape} of {image.dtype}"
            raise UserError(problem, "Convert it to grey values, bright is dense.")
        return image
    path = Path(image)
    if not path.is_file():
        raise UserError(f"no such image: {path}", "Check the path.")
    try:
        return read_radiograph(path)
    except UnreadableImage as error:
        raise UserError(f"cannot read {path}: {error}", "Give a PNG, JPEG or DICOM radiograph.") from None
