"""Which methods there are; importing it imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lingula.core.config import Config
from lingula.core.errors import UserError, nearest
from lingula.methods import clip_config, colipri_config, g2d_config, m_flag_config, supervised_config
from lingula.methods.clip_config import ClipConfig
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.methods.g2d_config import G2DConfig
from lingula.methods.m_flag_config import MFlagConfig
from lingula.methods.supervised_config import SupervisedConfig

if TYPE_CHECKING:
    from lingula.methods.base import Method
    from lingula.models.encoder_config import ImageEncoderConfig
    from lingula.models.text_encoder import TextEncoder

CONFIGS: dict[str, type[Config]] = {
    "clip": ClipConfig,
    "m-flag": MFlagConfig,
    "g2d": G2DConfig,
    "supervised": SupervisedConfig,
    "colipri": ColipriMethodConfig,
}
"""Method name to its configuration."""

_PRESETS = {
    "clip": clip_config.PRESETS,
    "m-flag": m_flag_config.PRESETS,
    "g2d": g2d_config.PRESETS,
    "supervised": supervised_config.PRESETS,
    "colipri": colipri_config.PRESETS,
}
_DEFAULT_PRESETS = {"colipri": "crm"}


def default_preset(name: str) -> str:
    """Preset of a method where none is named: our own numbers, or the variant that was released."""
    return _DEFAULT_PRESETS.get(name, "sound")


def reads_volumes(method: Config) -> bool:
    """Whether a method is trained on CT volumes (else on radiographs)."""
    return isinstance(method, ColipriMethodConfig)


def presets(name: str) -> Mapping[str, dict[str, Any]]:
    """Presets of a method: preset name to nested overrides of a pre-training configuration.

    Raises:
        UserError: There is no such method.
    """
    if name not in _PRESETS:
        raise UserError(f"no method '{name}'", nearest(name, _PRESETS) or f"Methods: {', '.join(_PRESETS)}.")
    return _PRESETS[name]


def build(
    method: Config,
    image_encoder: ImageEncoderConfig,
    text_encoder: TextEncoder | None = None,
    text_dimension: int | None = None,
    findings: Sequence[str] = (),
    image_size: int | None = None,
) -> Method:
    """Build a method with its image encoder.

    Args:
        method: One of `CONFIGS`.
        image_encoder: Which image encoder, with which weights.
        text_encoder: A text encoder that is trained along; None where it is frozen (or there is none).
        text_dimension: Size of the pooled text features, where the text encoder is frozen.
        findings: The store's findings, for a supervised method that does not name its own.
        image_size: Side of the images in pixels, for a method whose pooling has a place for each cell.

    Raises:
        UserError: The image encoder cannot be built or does not fit the method, or there is no finding to learn.
        ValueError: A method with text is given neither a text encoder nor the size of its features, or the image size is
            missing.
    """
    if isinstance(method, ColipriMethodConfig):
        from lingula.methods.colipri import ColipriMethod

        if text_encoder is None:
            raise UserError("COLIPRI trains its text encoder, but this one is frozen", "Set text_encoder.frozen to false.")
        return ColipriMethod(method, text_encoder)
    from lingula.models.radiograph_encoder import RadiographEncoder

    if isinstance(method, SupervisedConfig):
        from lingula.methods.supervised import Supervised

        chosen = list(method.findings or findings)
        if not chosen:
            raise UserError("there is no finding to learn", "Give the store labels, or choose clip, m-flag or g2d.")
        return Supervised(method, RadiographEncoder(image_encoder), chosen)
    size = text_dimension if text_encoder is None else text_encoder.dimension
    if size is None:
        raise ValueError("either a trained text encoder or the size of the frozen one's features is needed")
    if isinstance(method, MFlagConfig):
        from lingula.methods.m_flag import MFlag

        return MFlag(method, RadiographEncoder(image_encoder), size, text_encoder)
    if isinstance(method, G2DConfig):
        from lingula.methods.g2d import G2D

        if image_size is None:
            raise ValueError("G2D's attention pooling needs the image size")
        return G2D(method, RadiographEncoder(image_encoder), image_size, size, text_encoder)
    if isinstance(method, ClipConfig):
        from lingula.methods.clip import Clip

        return Clip(method, RadiographEncoder(image_encoder), size, text_encoder)
    raise TypeError(f"no method is built from a {type(method).__name__}")
