"""Weights in the layout of the official G2D code (`PRETRAIN/models/cnn_ae.py`), to ours and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lingula.core.checkpoint import read_pickled_tensors, save_weights
from lingula.core.errors import UserError
from lingula.methods.g2d_config import PRESETS
from lingula.models.attention_pool import AttentionPool2d
from lingula.models.position_projector import PositionProjector

PARTS = {
    "img_model.encoder.": "image_encoder.model.",
    "img_model.decoder.": "decoder.decoder.",
    "img_model.segmentation_head.": "decoder.segmentation_head.",
    "attnpool.": "attention_pool.",
    "proj_v.": "image_head.",
    "proj_t.": "text_head.",
    "lm_model.": "text_encoder.model.",
}
"""Official name of each part, and ours."""
LAYERS = {"0.": "hidden.", "1.": "norm.", "3.": "output."}
"""Official name of each layer of the projection heads, and ours."""
HEADS = ("proj_v.", "proj_t.", "image_head.", "text_head.")
"""Parts that have these layers, in both layouts."""
SMALL_PARTS = ("attention_pool.", "image_head.", "text_head.")
"""Parts whose own tensors say what the others must look like."""
UNUSED = ("pseudo_conv.", "lm_model.pooler.", "lm_model.embeddings.position_ids")
"""What no output of the official model depends on; left out."""
TEMPERATURE = "log_temperature"
"""Ours alone: the official code has a constant."""
KERNEL_AXES = {"proj_v.": 2, "proj_t.": 1}
"""Axes of length 1 that the official heads' kernels have behind those of our matrices."""
_DDP = "module."
_REMEDY = "Give a checkpoint of the official G2D code that has all parts (NAME_EPOCH_checkpoint.pth)."
_ENCODER_REMEDY = "NAME_encoder.pth is converted without --from, for --image-encoder.weights. " + _REMEDY


def convert_official_g2d(
    source: Path | str | Mapping[str, Tensor], wanted: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Turn official weights into a state dict of `G2D` as the preset `released` builds it.

    Args:
        source: A `.pth` file, of which no code is run, or its state dict; names may begin with `module.`.
        wanted: State dict of the method that it must fit. Where it is not given, the image encoder, the decoder and the
            language model are checked when the result is loaded.

    Raises:
        UserError: The file cannot be read or is not of this layout: names are missing or not known, or shapes do not fit.
    """
    tensors = dict(source) if isinstance(source, Mapping) else read_pickled_tensors(Path(source))
    if all(name.startswith(_DDP) for name in tensors):
        tensors = {name.removeprefix(_DDP): value for name, value in tensors.items()}
    used = {name: value for name, value in tensors.items() if not name.startswith(UNUSED)}
    _check_parts(used, PARTS)
    state = {_renamed(name, PARTS, LAYERS): _as_matrix(name, value) for name, value in used.items()}
    state[TEMPERATURE] = torch.tensor(math.log(PRESETS["released"]["method"]["temperature"]))
    _check_fit(state, _small_parts(state), SMALL_PARTS)
    if wanted is not None:
        _check_fit(state, wanted)
    return state


def to_official_g2d(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn a state dict of `G2D` into the official layout, the other way round.

    The temperature is left out, and so is what the official model has but does not use: load it there with `strict=False`.

    Raises:
        UserError: It has parts that the official model has not (as the preset `sound` does), lacks some, or its attention is
            wider than its latents (as in `paper`).
    """
    used = {name: value for name, value in state.items() if name != TEMPERATURE}
    _check_parts(used, PARTS.values())
    _check_fit(used, _small_parts(used), SMALL_PARTS)
    latent, width = used["attention_pool.c_proj.weight"].shape
    if latent != width:
        problem = f"the attention pools {width} features into {latent}; the official model has one size for both"
        raise UserError(problem, "Train without method.attention_width.")
    return {official_name(name): _as_kernel(official_name(name), value) for name, value in used.items()}


def convert_g2d_file(path: Path, target: Path) -> int:
    """Write official weights as a file to start a G2D run from.

    Returns:
        How many tensors there are.

    Raises:
        UserError: As in `convert_official_g2d`; the target exists.
    """
    if target.exists():
        raise UserError(f"{target} exists already", "Choose another name.")
    state = convert_official_g2d(path)
    save_weights(target, state, {"converted_from": path.name, "layout": "g2d"})
    return len(state)


def official_name(name: str) -> str:
    """Return what the official code calls one of our tensors."""
    return _renamed(name, *({own: other for other, own in names.items()} for names in (PARTS, LAYERS)))


def _renamed(name: str, parts: Mapping[str, str], layers: Mapping[str, str]) -> str:
    """Replace the part that a name begins with and, in a head, the layer behind it; what is not known stays."""
    part = next((part for part in parts if name.startswith(part)), "")
    rest = name.removeprefix(part)
    if part in HEADS:
        layer = next((layer for layer in layers if rest.startswith(layer)), "")
        rest = layers.get(layer, "") + rest.removeprefix(layer)
    return parts.get(part, "") + rest


def _as_matrix(name: str, value: Tensor) -> Tensor:
    """Turn a head's 1 x 1 convolution kernel into a matrix."""
    axes = _kernel_axes(name)
    if not axes:
        return value
    if value.ndim != 2 + axes or any(length != 1 for length in value.shape[2:]):
        problem = f"{name} is {tuple(value.shape)}, not the kernel of a convolution with {axes} axes of length 1"
        raise UserError(problem, _REMEDY)
    return value.reshape(value.shape[:2])


def _as_kernel(name: str, value: Tensor) -> Tensor:
    axes = _kernel_axes(name)
    return value.reshape(*value.shape, *[1] * axes) if axes else value


def _kernel_axes(name: str) -> int:
    part = next((part for part in KERNEL_AXES if name.startswith(part)), None)
    return KERNEL_AXES[part] if part is not None and name.endswith(".weight") else 0


def _check_parts(tensors: Mapping[str, Tensor], parts: Iterable[str]) -> None:
    """Refuse names outside the parts, and parts without any name."""
    known = tuple(parts)
    absent = [f"{part}*" for part in known if not any(name.startswith(part) for name in tensors)]
    unknown = sorted(name for name in tensors if not name.startswith(known))
    if absent or unknown:
        found = [f"they {verb} {_some(names)}" for verb, names in (("lack", absent), ("have unknown", unknown)) if names]
        remedy = _ENCODER_REMEDY if len(absent) == len(known) else _REMEDY
        raise UserError(f"these weights are not of the layout of G2D: {' and '.join(found)}", remedy)


def _small_parts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What heads and attention pooling must look like, as some of their tensors say."""
    features, hidden, width = _inner_sizes(state, "image_head.")
    words, text_hidden, latent = _inner_sizes(state, "text_head.")
    places = state.get("attention_pool.positional_embedding", torch.empty(0)).numel() // max(width, 1)
    with torch.device("meta"):
        parts: dict[str, nn.Module] = {
            "attention_pool.": AttentionPool2d(math.isqrt(max(places - 1, 0)), width, 1, latent),
            "image_head.": PositionProjector(features, hidden, width),
            "text_head.": PositionProjector(words, text_hidden, latent),
        }
    return {f"{part}{name}": value for part, module in parts.items() for name, value in module.state_dict().items()}


def _inner_sizes(state: Mapping[str, Tensor], head: str) -> tuple[int, int, int]:
    """Inputs, hidden width and outputs of a head; what is not there counts as 1 and is found missing later."""
    absent = torch.empty(1, 1)
    first, last = (state.get(f"{head}{layer}.weight", absent) for layer in ("hidden", "output"))
    return first.shape[1], first.shape[0], last.shape[0]


def _check_fit(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], only: tuple[str, ...] = ("",)) -> None:
    """Refuse missing and unknown names and other shapes; all are called by their official names."""
    own = {name: value for name, value in state.items() if name.startswith(only)}
    absent, unknown = (
        [official_name(name) for name in sorted(names)] for names in (set(wanted) - set(own), set(own) - set(wanted))
    )
    shapes = [
        f"{official_name(name)} ({tuple(own[name].shape)} instead of {tuple(value.shape)})"
        for name, value in sorted(wanted.items())
        if name in own and own[name].shape != value.shape
    ]
    for verb, names in (("lack", absent), ("have unknown", unknown), ("have other shapes for", shapes)):
        if names:
            raise UserError(f"these weights do not fit the model: they {verb} {_some(names)}", _REMEDY)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
