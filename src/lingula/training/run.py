"""The folder a training leaves behind, read back."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lingula.core.checkpoint import WEIGHTS, Checkpoints, load_weights
from lingula.core.errors import UserError
from lingula.core.files import read_json, sha256_of_file
from lingula.data.prepare_config import VolumeStoringConfig
from lingula.data.reading import Reading
from lingula.training.config import PretrainConfig
from lingula.training.logbook import read_metrics

if TYPE_CHECKING:
    from lingula.methods.base import Method
    from lingula.models.text_encoder import TextEncoder

CONFIG, ENVIRONMENT, CHECKPOINTS, LANGUAGE_MODEL = "config.yaml", "environment.json", "checkpoints", "language_model"


class Run:
    """A run folder.

    Args:
        path: The folder.

    Raises:
        UserError: It is missing, or not a run.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise UserError(f"no such run: {self.path}", "Make one with `lingula pretrain`.")
        if not (self.path / CONFIG).is_file() or not (self.path / ENVIRONMENT).is_file():
            problem = f"{self.path} is not a run (it has no {CONFIG} and {ENVIRONMENT})"
            raise UserError(problem, "Give the folder that `lingula pretrain --run` wrote.")
        self.checkpoints = Checkpoints(self.path / CHECKPOINTS)

    @cached_property
    def config(self) -> PretrainConfig:
        """The complete configuration it was trained with."""
        return PretrainConfig.from_yaml(self.path / CONFIG)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What it was made with: versions, device, starting weights, parameter counts, pairs."""
        values: dict[str, Any] = read_json(self.path / ENVIRONMENT)
        return values

    @property
    def reading(self) -> Reading:
        """How the store read the images it was trained on.

        Raises:
            UserError: The run was written by a version that did not note it.
        """
        if "reading" not in self.environment:
            raise UserError(f"run {self.path} does not say how its images were read", "Train it anew with this version.")
        return Reading.from_values(self.environment["reading"], str(self.path / ENVIRONMENT))

    @property
    def storing(self) -> VolumeStoringConfig:
        """What was done to the CT volumes it was trained on before they were stored."""
        return VolumeStoringConfig.from_values(self.environment["reading"], str(self.path / ENVIRONMENT))

    def metrics(self) -> list[dict[str, Any]]:
        """Return the logbook's entries, in order."""
        return read_metrics(self.path)

    def weights(self, checkpoint: str = "best") -> Path:
        """Return the weights file of the `best`, `last` or `initial` checkpoint.

        Raises:
            UserError: There is no such checkpoint.
        """
        return self.checkpoints.find(checkpoint) / WEIGHTS

    def fingerprint(self, checkpoint: str = "best") -> str:
        """Return the SHA-256 of a checkpoint's weights file."""
        return sha256_of_file(self.weights(checkpoint))

    def load_method(self, checkpoint: str = "best") -> Method:
        """Build the method and load a checkpoint into it; in evaluation mode, on the CPU.

        Raises:
            UserError: There is no such checkpoint, or it does not fit the configuration.
        """
        from lingula.training.assembly import build_method

        bare = self.config.image_encoder.model_copy(update={"weights": "none"})
        config = self.config.model_copy(update={"image_encoder": bare})
        encoder = None if config.text_encoder.frozen else self.saved_text_encoder()
        method = build_method(config, encoder, self.environment["text_dimension"], self.environment["findings"])
        load_weights(self.weights(checkpoint), method)
        return method.eval()

    def text_encoder(self, checkpoint: str = "best") -> TextEncoder | None:
        """Return the text encoder, in evaluation mode, on the CPU; None for a method without text.

        A frozen one is the same for every checkpoint; one that was trained comes with the checkpoint's weights.
        """
        encoder = self.saved_text_encoder()
        if encoder is None or self.config.text_encoder.frozen:
            return encoder
        trained: TextEncoder = self.load_method(checkpoint).text_encoder  # type: ignore[assignment]
        return trained

    def saved_text_encoder(self) -> TextEncoder | None:
        """Return the encoder as it was when training began; None for a method without text."""
        from lingula.models.text_encoder import load_text_encoder

        folder = self.path / LANGUAGE_MODEL
        if not folder.is_dir():
            return None
        return load_text_encoder(
            self.config.text_encoder.model_copy(update={"name": str(folder), "folder": None, "revision": None})
        )
