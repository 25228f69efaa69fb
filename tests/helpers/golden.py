"""Inputs by a closed formula and summaries of tensors, as the README files beside the golden numbers describe them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor


def wave(shape: tuple[int, ...], frequency: float, shift: float, dtype: torch.dtype, offset=0.0, amplitude=1.0) -> Tensor:
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (offset + amplitude * torch.sin(frequency * k + 0.001 * (k % 9973) ** 2 + shift)).reshape(shape).to(dtype)


def assert_same(found: Tensor, golden: dict[str, Any], relative: float) -> None:
    flat, scale = found.detach().double().flatten(), golden["norm"]
    if scale < 1e-6:
        assert flat.norm().item() < 1e-6, "a bias before a batch norm has no gradient"
        return
    assert flat.norm().item() == pytest.approx(scale, rel=relative)
    checksum = (flat * torch.cos(torch.arange(len(flat), dtype=torch.float64))).sum().item()
    assert checksum == pytest.approx(golden["cosine_checksum"], abs=relative * scale)
    entries = torch.cat([flat[:4], flat[-2:]]).tolist()
    assert entries == pytest.approx(golden["first"] + golden["last"], abs=relative * scale)
