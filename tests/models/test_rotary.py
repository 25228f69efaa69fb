from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_volume_encoder import rotations

from lingula.models.rotary import rotary_angles, rotate


@pytest.mark.parametrize("grid", [(4, 3, 5), (24, 1, 2)])
def test_equals_complex_multiplication_in_float64_on_grids_that_are_not_cubic(grid: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    heads = torch.randn(2, 3, int(np.prod(grid)), 18)
    turned = rotate(heads, rotary_angles(grid, 18)).double().numpy()
    pairs = heads[..., ::2].double().numpy() + 1j * heads[..., 1::2].double().numpy()
    for number, place in enumerate(itertools.product(*map(range, grid))):
        expected = pairs[:, :, number] * rotations(place, 18)
        np.testing.assert_allclose(turned[:, :, number, ::2], expected.real, atol=2e-5)
        np.testing.assert_allclose(turned[:, :, number, 1::2], expected.imag, atol=2e-5)


def test_each_third_of_a_head_turns_with_its_own_axis() -> None:
    angles = rotary_angles((2, 3, 4), 12).reshape(2, 3, 4, 3, 2)
    for axis, (third, length) in enumerate(zip(angles.unbind(3), (2, 3, 4), strict=True)):
        along = third.movedim(axis, 0)
        assert torch.equal(along[:, 0, 0, 0], torch.arange(length, dtype=torch.float32)), (
            "the first pair turns by one radian a patch"
        )
        assert torch.equal(along, along[:, :1, :1].expand_as(along)), "and not with the other axes"


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(0, 9)] * 6), st.tuples(*[st.integers(0, 9)] * 3))
def test_products_of_queries_and_keys_see_differences_of_places_only(places: tuple[int, ...], shift: tuple[int, ...]) -> None:
    grid, query, key = (20, 20, 20), torch.randn(1, 1, 1, 12), torch.randn(1, 1, 1, 12)
    angles = rotary_angles(grid, 12).reshape(*grid, -1)
    first, second = places[:3], places[3:]
    moved = [tuple(a + b for a, b in zip(place, shift, strict=True)) for place in (first, second)]
    near, far = (
        (rotate(query, angles[a][None]) * rotate(key, angles[b][None])).sum() for a, b in ((first, second), tuple(moved))
    )
    torch.testing.assert_close(near, far, atol=1e-4, rtol=1e-4)


def test_half_precision_is_turned_in_fp32() -> None:
    heads, angles = torch.randn(1, 1, 8, 12).bfloat16(), rotary_angles((2, 2, 2), 12)
    assert torch.equal(rotate(heads, angles), rotate(heads.float(), angles).bfloat16())
