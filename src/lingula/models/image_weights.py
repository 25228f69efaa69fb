"""Weights of image encoders: found or refused, never replaced by random ones."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.core.offline import forbidden_by

RUN_PREFIX = "image_encoder.model."
"""Where the weights of the encoder's network lie in a checkpoint of one of our methods."""

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "head.", "head_dist.", "conv_head.", "norm_head.", "pre_logits.", "head_fc.")
"""Parts of a classifier that an encoder does not have."""


def imagenet_file(name: str) -> Path:
    """Return the local file with timm's pre-trained weights of a network, downloading it once where the hub can be reached.

    Args:
        name: A timm name, with or without a tag.

    Raises:
        UserError: timm knows no weights for it, or they are neither in the local cache nor reachable.
    """
    import timm
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import LocalEntryNotFoundError

    settings = timm.get_pretrained_cfg(name)
    repository = settings.hf_hub_id if settings else None
    if not repository:
        raise UserError(f"there are no ImageNet weights for '{name}'", "Choose image_encoder.weights none or a safetensors file.")
    if repository == "timm/":
        repository += f"{settings.architecture}.{settings.tag}"
    file = "model.safetensors"
    try:
        return Path(hf_hub_download(repository, file, local_files_only=True))
    except LocalEntryNotFoundError:
        pass
    remedy = "Connect once, or give image_encoder.weights a safetensors file or none."
    forbidden = forbidden_by()
    if forbidden:
        raise UserError(
            f"ImageNet weights {repository}/{file} are not in the local cache and {forbidden} forbids the hub", remedy
        )
    try:
        get_hf_file_metadata(hf_hub_url(repository, file), timeout=10)
        return Path(hf_hub_download(repository, file))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"ImageNet weights {repository}/{file} are not here and cannot be fetched ({reason})", remedy) from error


def load_weights(network: nn.Module, file: Path) -> None:
    """Load a safetensors file into a network: a timm or torchvision state dict, or a checkpoint of one of our runs.

    The classifier is ignored; a first convolution for 3 channels is summed for 1 and repeated the other way round.

    Raises:
        UserError: The file is missing, is no safetensors file, or does not fit the network.
    """
    state = _read(file)
    if any(name.startswith(RUN_PREFIX) for name in state):
        state = {name.removeprefix(RUN_PREFIX): value for name, value in state.items() if name.startswith(RUN_PREFIX)}
    wanted = network.state_dict()
    state = {name: value for name, value in state.items() if name in wanted or not name.startswith(CLASSIFIER_PREFIXES)}
    absent = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    surplus = [name for name in state if name not in wanted]
    fitted = {name: _fit_channels(value, wanted[name]) for name, value in state.items() if name in wanted}
    shapes = [name for name, value in fitted.items() if value.shape != wanted[name].shape]
    for what, names in (("lacks", absent), ("has unknown", surplus), ("has other shapes for", shapes)):
        if names:
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise UserError(f"{file} does not fit the image encoder: it {what} {some}", "Check image_encoder.name.")
    network.load_state_dict(fitted, strict=False)


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise UserError(f"no such weights: {file}", "image_encoder.weights is none, imagenet, or the path of a safetensors file.")
    try:
        return load_file(file)
    except SafetensorError as error:
        remedy = f"Pickles can run code and are not read; convert one with lingula convert {file} NEW.safetensors."
        raise UserError(f"{file} is not a safetensors file ({error})", remedy) from None


def _fit_channels(weight: Tensor, wanted: Tensor) -> Tensor:
    """Turn a convolution over 3 equal channels into one over 1, or the other way round."""
    if weight.ndim != 4 or weight.shape == wanted.shape:
        return weight
    if (weight.shape[1], wanted.shape[1]) == (3, 1):
        return weight.sum(dim=1, keepdim=True)
    if (weight.shape[1], wanted.shape[1]) == (1, 3):
        return weight.expand(-1, 3, -1, -1) / 3
    return weight
