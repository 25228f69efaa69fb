from __future__ import annotations

import math

import pytest
import torch

from lingula.core.batch import Tokens
from lingula.objectives import report_errors

WORDS = 7


def case(seed: int = 0) -> tuple[torch.Tensor, Tokens]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(5) < torch.tensor([5, 3, 2])[:, None]
    ids = torch.randint(0, WORDS, (3, 5), generator=generator).masked_fill(~mask, 0)
    return torch.randn(3, 5, WORDS, generator=generator, dtype=torch.float64), Tokens(ids, mask)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_the_cross_entropy_token_by_token(smoothing: float) -> None:
    logits, report = case()
    sums, counts = report_errors(logits, report, smoothing)
    for row in range(3):
        expected = 0.0
        for place in range(int(report.mask[row].sum()) - 1):
            log = torch.log_softmax(logits[row, place], dim=0)
            target = torch.full((WORDS,), smoothing / WORDS, dtype=torch.float64)
            target[report.ids[row, place + 1]] += 1 - smoothing
            expected -= (target * log).sum().item()
        assert sums[row].item() == pytest.approx(expected)
    assert counts.tolist() == [4, 2, 1]


def test_padding_and_the_last_place_have_no_part() -> None:
    logits, report = case()
    logits.requires_grad_()
    sums, _ = report_errors(logits, report, 0.1)
    sums.sum().backward()
    used = logits.grad.abs().sum(dim=2) > 0
    assert used.tolist() == [
        [True, True, True, True, False],
        [True, True, False, False, False],
        [True, False, False, False, False],
    ]
    other = Tokens(report.ids.masked_fill(~report.mask, 5), report.mask)
    assert torch.equal(report_errors(logits, other, 0.1)[0], sums)


def test_uniform_logits_cost_the_log_of_the_vocabulary_whatever_the_smoothing() -> None:
    _, report = case()
    for smoothing in (0.0, 0.3):
        sums, counts = report_errors(torch.zeros(3, 5, WORDS), report, smoothing)
        torch.testing.assert_close(sums, counts * math.log(WORDS))


def test_bad_input() -> None:
    logits, report = case()
    with pytest.raises(ValueError, match=r"logits \[batch, tokens, words\]"):
        report_errors(logits[:, :4], report)
    with pytest.raises(ValueError, match="smoothing"):
        report_errors(logits, report, 1.0)
