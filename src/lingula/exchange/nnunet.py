"""A volume encoder as a checkpoint for nnU-Net's route of fine-tuning from self-supervised weights.

The route is documented in nnU-Net's `documentation/finetuning_from_nnssl_checkpoints.md` (workflow B; repository MIC-DKFZ/nnUNet,
commit 0e495086 of 13 July 2026; not in the releases up to 2.8.1): `nnUNetv2_preprocess_like_nnssl -pc FILE`, then
`nnUNetv2_train_pretrained … -tr PretrainedTrainer_Primusx`. What it reads of a checkpoint is `network_weights` and
`nnssl_adaptation_plan`; what it asks of them is told at `nnunet_checkpoint`.

`make compat` builds the network that the plan names with dynamic-network-architectures 0.4.4, whose encoder nnU-Net uses, and
compares its tokens with ours. nnU-Net's own builder and loader of that commit read such a file of a small encoder once, for its
crops and for others; the tokens differed from ours by 4e-7 of their length. The two commands were never run here: they need a
data set in nnU-Net's form and a GPU. What they do otherwise than our training, and what fine-tuning has to make up for: each
volume is z-scored, where our encoders saw Hounsfield units in [-1, 1]; and volumes are not turned, so their files must have the
orientation of the run's store.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lingula.core.checkpoint import names_of_non_finite
from lingula.core.errors import UserError
from lingula.core.files import atomic_file
from lingula.models.volume_config import SIZES, VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder

Orientation = Literal["RAS", "SAR"]
Sides = tuple[int, int, int]

NAMED = {"PrimusS": SIZES["small"], "PrimusM": SIZES["M"]}
"""Sizes that nnU-Net knows by name; any other is told by its numbers, as `PrimusX`."""
PATCH = 8
"""The only patch of the networks that it knows by name."""
MLP_RATIO = 8 / 3
CONFIGURATION = "3d_fullres"
CITATION = "Lingula encoder; cite the run's own paper and Primus (arXiv 2503.01835)"


def save_nnunet(
    encoder: VolumeEncoder, path: str | Path, size: Sides, spacing: tuple[float, float, float] | None, orientation: Orientation
) -> None:
    """Write the checkpoint of `nnunet_checkpoint` as a `.pth` of tensors and plain values, which `weights_only=True` reads.

    Raises:
        UserError: As in `nnunet_checkpoint`, or the file is not named `.pth`.
    """
    path = Path(path)
    if path.suffix != ".pth":
        raise UserError(f"{path} is not named .pth", "nnU-Net's own checkpoints are, and its guide names them so.")
    content = nnunet_checkpoint(encoder, size, spacing, orientation)
    with atomic_file(path) as temporary:
        torch.save(content, temporary)


def nnunet_checkpoint(
    encoder: VolumeEncoder, size: Sides, spacing: tuple[float, float, float] | None, orientation: Orientation
) -> dict[str, Any]:
    """Return the weights under Primus's names, with the plan that says what they are.

    nnU-Net's arrays have the axes z, y, x of a file. An encoder of a RAS store (x, y, z) is written so that it gives on such an
    array the tokens that it gives on ours, transposed: kernels are transposed, and the features of queries and keys that turn
    with x and z change places, which attention does not notice. That of a SAR store has these axes already.

    nnU-Net's Primus adds a learned embedding of places, which our encoder has not: it is written as zeros, for the crop's grid.

    Args:
        encoder: The encoder.
        size: Voxels of the crops of pre-training along the store's axes; multiples of the patch.
        spacing: Voxel size of the run's store along its axes, mm; None: as the volumes came.
        orientation: Where the axes of the run's store point.

    Raises:
        UserError: nnU-Net cannot build this encoder, the patch does not divide the crop, or a weight is not finite.
    """
    config = encoder.config
    _check(config)
    grid = config.grid(size)
    weights = {name: value.detach().cpu().clone() for name, value in encoder.state_dict().items()}
    if bad := names_of_non_finite(weights):
        raise UserError(f"{bad[0]} holds numbers that are not finite", "Take an earlier checkpoint.")
    if orientation == "RAS":
        weights = _reversed_axes(weights, config.num_heads)
        size, grid = size[::-1], grid[::-1]
        spacing = None if spacing is None else spacing[::-1]
    weights["eva.pos_embed"] = torch.zeros(1, grid[0] * grid[1] * grid[2], config.embed_dim)
    name = next((name for name, named in NAMED.items() if _same_size(named, config)), None)
    return {
        "network_weights": weights,
        "citations": [CITATION],
        "nnssl_adaptation_plan": {
            "architecture_plans": {
                "arch_class_name": name or "PrimusX",
                "arch_kwargs": None if name else _numbers(config),
                "arch_kwargs_requiring_import": None,
            },
            "pretrain_plan": {
                "configurations": {
                    CONFIGURATION: {"spacing": None if spacing is None else list(spacing), "patch_size": list(size)}
                }
            },
            "pretrain_num_input_channels": config.channels,
            "recommended_downstream_patchsize": list(size),
            "key_to_encoder": "eva",
            "key_to_stem": "down_projection",
            "keys_to_in_proj": ["down_projection.proj"],
            "key_to_lpe": "eva.pos_embed",
        },
    }


def _check(config: VolumeEncoderConfig) -> None:
    """Check that nnU-Net's builder, which takes few numbers, makes the same network."""
    lacks = {
        "register tokens": config.register_tokens > 0,
        f"a hidden layer of {config.mlp_ratio:g} times the width": abs(config.mlp_ratio - MLP_RATIO) > 1e-6,
        f"{config.channels} input channels": config.channels != 1,
        "patches of different sides, which change places with the axes": len(set(config.patch)) > 1,
    }
    found = [name for name, there in lacks.items() if there]
    if found:
        raise UserError(f"nnU-Net cannot build an encoder with {found[0]}", "Pre-train one without it for this export.")


def _reversed_axes(weights: dict[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Return the weights of the encoder that sees volumes with the axes in the opposite order."""
    turned = dict(weights)
    for name, value in weights.items():
        if name == "down_projection.proj.weight":
            turned[name] = value.permute(0, 1, 4, 3, 2).contiguous()
        elif ".attn.q_proj." in name or ".attn.k_proj." in name:
            thirds = value.reshape(heads, 3, -1, *value.shape[1:])
            turned[name] = thirds.flip(1).reshape(value.shape).contiguous()
    return turned


def _same_size(named: VolumeEncoderConfig, config: VolumeEncoderConfig) -> bool:
    sizes = ((each.embed_dim, each.depth, each.num_heads) for each in (named, config))
    return config.patch == (PATCH,) * 3 and len(set(sizes)) == 1


def _numbers(config: VolumeEncoderConfig) -> dict[str, Any]:
    return {
        "embed_dim": config.embed_dim,
        "patch_embed_size": list(config.patch),
        "encoder_eva_depth": config.depth,
        "encoder_eva_numheads": config.num_heads,
        "scale_attn_inner": True,
        "init_values": config.layer_scale,
    }
