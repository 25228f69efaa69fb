from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lingula.objectives import effective_rank, orthogonality_floor, orthogonality_loss

FORMS = ["raw", "centred", "standardised"]


def features(seed: int, batch: int, dimension: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.5 + torch.rand(batch, dimension, dtype=torch.float64, generator=generator) * 2


def slow(rows: torch.Tensor, weight: float, form: str) -> torch.Tensor:
    """Entry by entry, from the definition."""
    batch, dimension = rows.shape
    columns = [rows[:, j] for j in range(dimension)]
    if form != "raw":
        columns = [column - sum(column) / batch for column in columns]
    if form == "standardised":
        columns = [column / (sum(x**2 for x in column) / batch).sqrt() for column in columns]
    total = rows.new_zeros(())
    for j in range(dimension):
        for k in range(dimension):
            entry = sum(columns[j][i] * columns[k][i] for i in range(batch)) / batch
            total = total + ((entry - 1) ** 2 if j == k else weight * entry**2)
    return total / 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("batch", "dimension"), [(7, 4), (4, 4), (3, 6), (2, 5)])
@pytest.mark.parametrize("weight", [0.0051, 0.5, 2.0])
def test_equals_a_slow_reference_in_value_and_gradient(form, batch, dimension, weight):
    fast, reference = (features(0, batch, dimension).requires_grad_() for _ in range(2))
    fast_loss, slow_loss = orthogonality_loss(fast, weight, form), slow(reference, weight, form)
    fast_loss.backward()
    slow_loss.backward()
    assert fast_loss.item() == pytest.approx(slow_loss.item(), rel=1e-10)
    torch.testing.assert_close(fast.grad, reference.grad, rtol=1e-10, atol=1e-12)
    scaled = orthogonality_loss(fast, weight, form, per_dimension=True)
    assert scaled.item() == pytest.approx(slow_loss.item() / dimension, rel=1e-10)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [3, 6])
def test_gradcheck(form, batch):
    rows = features(1, batch, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: orthogonality_loss(x, 0.1, form), (rows,))


@pytest.mark.parametrize("form", FORMS)
def test_gram_and_covariance_routes_agree_in_fp32(form):
    """Just below and at batch = dimension the two routes are taken; a dense reference in float64 judges both."""
    for batch in (63, 64):
        rows = features(2, batch, 64)
        prepared = rows if form == "raw" else rows - rows.mean(0)
        prepared = prepared / prepared.square().mean(0).sqrt() if form == "standardised" else prepared
        moments = prepared.T @ prepared / batch
        diagonal = moments.diagonal()
        dense = ((diagonal - 1).square().sum() + 0.0051 * (moments - torch.diag(diagonal)).square().sum()) / 2
        assert orthogonality_loss(rows, form=form).item() == pytest.approx(dense.item(), rel=1e-12)
        assert orthogonality_loss(rows.float(), form=form).item() == pytest.approx(dense.item(), rel=1e-5)


def test_closed_forms():
    axes = torch.eye(4, dtype=torch.float64) * 2
    assert orthogonality_loss(axes).item() == pytest.approx(0, abs=1e-15)
    assert orthogonality_loss(torch.zeros(512, 2048)).item() == 1024
    assert orthogonality_loss(torch.ones(8, 3, dtype=torch.float64), 0.1).item() == pytest.approx(0.5 * 0.1 * 6, rel=1e-12)
    assert orthogonality_loss(torch.ones(8, 3), form="centred").item() == 1.5


def test_standardising_removes_the_diagonal_term_and_centring_does_not():
    rows = features(3, 32, 4) * 10
    assert orthogonality_loss(rows, 0.0, "standardised").item() < 1e-25
    assert orthogonality_loss(rows, 0.0, "centred").item() > 100


@given(seed=st.integers(0, 1000), batch=st.integers(2, 9), dimension=st.integers(1, 9), form=st.sampled_from(FORMS))
@settings(max_examples=40, deadline=None)
def test_invariances(seed, batch, dimension, form):
    torch.manual_seed(seed)
    rows = features(seed, batch, dimension)
    loss = orthogonality_loss(rows, 0.3, form)
    assert loss.item() >= orthogonality_floor(batch, dimension, 0.3, form) - 1e-10
    torch.testing.assert_close(orthogonality_loss(rows[torch.randperm(batch)], 0.3, form), loss)
    torch.testing.assert_close(orthogonality_loss(rows[:, torch.randperm(dimension)], 0.3, form), loss)
    torch.testing.assert_close(orthogonality_loss(-rows, 0.3, form), loss)
    torch.testing.assert_close(orthogonality_loss(rows.repeat(3, 1), 0.3, form), loss)
    rotation = torch.linalg.qr(torch.randn(dimension, dimension, dtype=torch.float64))[0]
    centred_or_raw = "raw" if form == "standardised" else form
    full = orthogonality_loss(rows, 1.0, centred_or_raw)
    torch.testing.assert_close(orthogonality_loss(rows @ rotation, 1.0, centred_or_raw), full)
    if form != "raw":
        torch.testing.assert_close(orthogonality_loss(rows + 5, 0.3, form), loss)
    if form == "standardised":
        torch.testing.assert_close(orthogonality_loss(rows * 7, 0.3, form), loss)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weight", [0.0051, 0.3, 3.0])
@pytest.mark.parametrize(("batch", "dimension"), [(4, 9), (6, 6), (8, 5)])
def test_floor_is_what_an_optimiser_reaches(form, weight, batch, dimension):
    floor = orthogonality_floor(batch, dimension, weight, form)
    reached = min(minimum(batch, dimension, weight, form, seed) for seed in range(2))
    assert reached >= floor - 1e-9
    assert reached <= floor * 1.001 + 1e-6


def minimum(batch: int, dimension: int, weight: float, form: str, seed: int) -> float:
    rows = torch.randn(batch, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [rows], max_iter=250, line_search_fn="strong_wolfe", tolerance_grad=1e-10, tolerance_change=1e-14
    )

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = orthogonality_loss(rows, weight, form)
        loss.backward()
        return loss

    optimiser.step(closure)
    return closure().item()


def test_floor_in_the_released_setting():
    """2,048 features from 512 samples: C = I is impossible."""
    excess = 0.0051 * 3
    assert orthogonality_floor(512, 2048) == pytest.approx(1024 * excess / (1 + excess))
    assert orthogonality_floor(2048, 2048) == 0
    assert orthogonality_floor(2048, 2048, form="centred") > 0
    assert orthogonality_floor(2049, 2048, form="centred") == 0
    assert orthogonality_floor(512, 2048, per_dimension=True) == pytest.approx(orthogonality_floor(512, 2048) / 2048)


@pytest.mark.parametrize("batch", [512, 3000])
def test_large_half_precision_features_do_not_overflow(batch):
    """The released code squares in fp16 before it divides: 20 x 20 x 512 is beyond fp16."""
    rows = torch.full((batch, 2048), 20.0, dtype=torch.float16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = orthogonality_loss(rows)
    (loss / 1e6).backward()
    expected = (2048 * 399**2 + 0.0051 * 2048 * 2047 * 400**2) / 2
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert rows.grad.isfinite().all()


@pytest.mark.parametrize("form", FORMS)
def test_zero_and_constant_features_have_finite_gradients(form):
    for value in (0.0, 20.0):
        rows = torch.full((4, 6), value)
        rows[:, 0] = torch.arange(4.0)
        rows.requires_grad_()
        loss = orthogonality_loss(rows, form=form)
        loss.backward()
        assert loss.isfinite()
        assert rows.grad.isfinite().all()
        assert rows.grad.abs().max() < 1e5
    if form == "standardised":
        assert loss.item() == pytest.approx(5 / 2)


def test_effective_rank():
    assert effective_rank(torch.eye(5, dtype=torch.float64)[:, :3]).item() < 3
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert effective_rank(signs).item() == pytest.approx(2)
    assert effective_rank(signs @ torch.tensor([[1.0], [1.0]]) @ torch.ones(1, 30)).item() == pytest.approx(1)
    assert effective_rank(torch.ones(4, 9)).item() == 0
    rows = features(5, 40, 7)
    eigenvalues = torch.linalg.eigvalsh(torch.cov(rows.T))
    assert effective_rank(rows).item() == pytest.approx((eigenvalues.sum() ** 2 / eigenvalues.square().sum()).item(), rel=1e-10)


@pytest.mark.parametrize("form", ["centred", "standardised"])
def test_one_sample_has_no_covariance(form):
    with pytest.raises(ValueError, match="at least two samples"):
        orthogonality_loss(torch.ones(1, 3), form=form)
    with pytest.raises(ValueError, match="at least two samples"):
        orthogonality_floor(1, 3, form=form)


@pytest.mark.parametrize("call", [orthogonality_loss, lambda x, *a: orthogonality_floor(0, 3, *a)])
@pytest.mark.parametrize("arguments", [(-1.0, "raw"), (0.1, "cosine")])
def test_bad_arguments_are_refused(call, arguments):
    with pytest.raises(ValueError, match=r"weight|form"):
        call(torch.ones(2, 3), *arguments)


@pytest.mark.parametrize("shape", [(3,), (0, 3), (3, 0), (2, 3, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"\[batch, dim\]"):
        orthogonality_loss(torch.ones(shape))
