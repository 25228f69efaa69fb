"""Reports word by word: the steps are the decoder's own, and the searches find what a slow search finds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from lingula.core.errors import UserError
from lingula.models.report_decoder import ReportDecoder
from lingula.models.report_decoder_config import ReportDecoderConfig
from lingula.models.report_search import ReportMarks, write_beam, write_greedy, write_sampled
from lingula.models.report_steps import ReportSteps

WORDS, IMAGE = 7, 6
MARKS = ReportMarks(start=1, end=2, never=(0, 1), limit=5)


@pytest.fixture
def decoder() -> ReportDecoder:
    torch.manual_seed(3)
    config = ReportDecoderConfig(width=8, layers=2, heads=2, max_tokens=6, dropout=0.3)
    made = ReportDecoder(config, WORDS, IMAGE).double().eval()
    for table in (made.words, made.places):
        torch.nn.init.normal_(table.weight, std=1.0)
    return made


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn(3, 5, IMAGE, generator=torch.Generator().manual_seed(0)).double()


def log_chance(decoder: ReportDecoder, image: torch.Tensor, report: tuple[int, ...]) -> float:
    """Of a report without start, through the whole decoder, without padding and the start among the words."""
    ids = torch.tensor([[MARKS.start, *report]])
    with torch.no_grad():
        logits = decoder(ids, image[None])[0]
    logits[:, list(MARKS.never)] = -torch.inf
    return float(logits.log_softmax(dim=1)[range(len(report)), list(report)].sum())


def every_report() -> list[tuple[int, ...]]:
    """All that end, at any length, and all that are cut at the limit."""
    words, most = [3, 4, 5, 6], MARKS.limit - 1
    ended = [(*middle, 2) for length in range(most) for middle in product(words, repeat=length)]
    return ended + list(product(words, repeat=most))


def test_steps_give_the_logits_of_the_whole_decoder(decoder: ReportDecoder, image: torch.Tensor) -> None:
    ids = torch.tensor([[1, 3, 5, 4], [1, 6, 6, 3], [1, 2, 3, 4]])
    steps = ReportSteps(decoder, image)
    with torch.no_grad():
        whole = decoder(ids, image)
    for place in range(4):
        torch.testing.assert_close(steps.step(ids[:, place]), whole[:, place], rtol=1e-10, atol=1e-10)
    steps.keep(torch.tensor([2, 0, 2]))
    after, last = torch.tensor([[1, 2, 3, 4, 3], [1, 3, 5, 4, 6], [1, 2, 3, 4, 5]]), torch.tensor([3, 6, 5])
    with torch.no_grad():
        whole = decoder(after, image[[2, 0, 2]])
    torch.testing.assert_close(steps.step(last), whole[:, 4], rtol=1e-10, atol=1e-10)
    steps.step(last)
    with pytest.raises(UserError, match="more than 6 tokens"):
        steps.step(last)


def test_greedy_takes_the_likeliest_word_each_time(decoder: ReportDecoder, image: torch.Tensor) -> None:
    for row, report in enumerate(write_greedy(decoder, image, MARKS)):
        written: list[int] = []
        while len(written) < MARKS.limit - 1:
            choice = max((2, 3, 4, 5, 6), key=lambda word: log_chance(decoder, image[row], (*written, word)))
            if choice == MARKS.end:
                break
            written.append(choice)
        assert report == written


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_beam_as_wide_as_all_reports_finds_the_best_of_all(decoder: ReportDecoder, image: torch.Tensor, penalty: float) -> None:
    found = write_beam(decoder, image, MARKS, len(every_report()), penalty)
    for row, report in enumerate(found):
        best = max(every_report(), key=lambda each: log_chance(decoder, image[row], each) / len(each) ** penalty)
        assert report == [word for word in best if word != MARKS.end]


def test_one_beam_is_greedy_and_wider_ones_are_no_less_likely(decoder: ReportDecoder, image: torch.Tensor) -> None:
    greedy = write_greedy(decoder, image, MARKS)
    assert write_beam(decoder, image, MARKS, 1) == greedy
    assert write_beam(decoder, image[1:2], MARKS, 3)[0] == write_beam(decoder, image, MARKS, 3)[1]


def test_words_are_drawn_as_often_as_they_are_likely(decoder: ReportDecoder, image: torch.Tensor) -> None:
    marks = ReportMarks(start=1, end=2, never=(0, 1), limit=2)
    count, temperature, top_p = 4000, 4.0, 0.75
    draws = (np.arange(count)[:, None] + 0.5) / count
    drawn = write_sampled(decoder, image[:1].expand(count, -1, -1), marks, temperature, top_p, draws)
    counts = np.bincount([report[0] if report else 2 for report in drawn], minlength=WORDS) / count
    scores = np.array([-np.inf, -np.inf] + [log_chance(decoder, image[0], (word,)) for word in range(2, WORDS)])
    chances = np.exp(scores / temperature)
    chances /= chances.sum()
    order, kept = np.argsort(-chances), np.zeros(WORDS)
    for word in order:
        kept[word] = chances[word]
        if kept.sum() >= top_p:
            break
    assert 1 < (kept > 0).sum() < 5, "some words are cut off, several are left"
    np.testing.assert_allclose(counts, kept / kept.sum(), atol=2 / count)


def test_a_draw_belongs_to_its_report_alone(decoder: ReportDecoder, image: torch.Tensor) -> None:
    draws = np.random.default_rng(0).random((3, 4))
    together = write_sampled(decoder, image, MARKS, 1.0, 1.0, draws)
    assert [write_sampled(decoder, image[[n]], MARKS, 1.0, 1.0, draws[[n]])[0] for n in range(3)] == together
    cold = write_sampled(decoder, image, MARKS, 1e-6, 1.0, draws)
    assert cold == write_greedy(decoder, image, MARKS)
