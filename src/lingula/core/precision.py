"""Which number format a device computes fast in."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

Precision: TypeAlias = Literal["bf16", "fp16", "fp32"]


def multiplies_fast_in_bf16(device: torch.device) -> bool:
    """Tell whether a device has hardware for bf16 matrix products; elsewhere bf16 autocast is several times slower than fp32."""
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def choose_precision(wanted: Precision | Literal["auto"], device: torch.device) -> Precision:
    """Return what is wanted; for `auto`, bf16 where the device is fast in it and fp32 elsewhere."""
    if wanted != "auto":
        return wanted
    return "bf16" if multiplies_fast_in_bf16(device) else "fp32"
