"""The report decoder: no word sees those behind it, and all see the image."""

from __future__ import annotations

import pytest
import torch

from lingula.core.batch import Tokens
from lingula.core.errors import UserError
from lingula.models.report_decoder import ReportDecoder
from lingula.models.report_decoder_config import ReportDecoderConfig
from lingula.objectives import report_errors

WORDS = 11


def make(**options: int) -> ReportDecoder:
    torch.manual_seed(0)
    sizes = {"width": 16, "layers": 2, "heads": 2, "max_tokens": 8} | options
    return ReportDecoder(ReportDecoderConfig(**sizes), WORDS, 6).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, WORDS, (2, 6), generator=generator), torch.randn(2, 5, 6, generator=generator)


def test_a_word_depends_on_those_before_it_and_on_no_other() -> None:
    decoder, (ids, image) = make(), inputs()
    before = decoder(ids, image)
    assert before.shape == (2, 6, WORDS)
    for place in range(6):
        other = ids.clone()
        other[:, place] = (other[:, place] + 1) % WORDS
        changed = (decoder(other, image) - before).abs().amax(dim=(0, 2)) > 1e-6
        assert changed.tolist() == [at >= place for at in range(6)]


def test_every_word_sees_every_token_of_its_own_image() -> None:
    decoder, (ids, image) = make(), inputs()
    image.requires_grad_()
    logits = decoder(ids, image)
    for place in range(6):
        (gradient,) = torch.autograd.grad(logits[0, place].square().sum(), image, retain_graph=True)
        assert bool((gradient[0].abs().sum(dim=1) > 0).all())
        assert not gradient[1].any()


def test_the_order_of_image_tokens_and_padding_do_not_matter() -> None:
    decoder, (ids, image) = make(), inputs()
    torch.testing.assert_close(decoder(ids, image.flip(1)), decoder(ids, image))
    longer = torch.cat([ids, torch.zeros(2, 2, dtype=torch.long)], dim=1)
    torch.testing.assert_close(decoder(longer, image)[:, :6], decoder(ids, image))


def test_order_of_words_does_matter() -> None:
    """With one block and the same words behind it, only places tell two orders apart."""
    decoder, (_, image) = make(layers=1), inputs()
    one, other = torch.tensor([[1, 2, 3]] * 2), torch.tensor([[2, 1, 3]] * 2)
    assert not torch.allclose(decoder(one, image)[:, 2], decoder(other, image)[:, 2])


def test_it_learns_to_say_what_the_image_shows() -> None:
    """Two images, two reports: only by looking can the words be known."""
    decoder = make().train()
    image = torch.eye(2).repeat_interleave(3, dim=1)[:, None].expand(2, 4, 6)
    report = Tokens(torch.tensor([[1, 4, 5, 2], [1, 6, 7, 2]]), torch.ones(2, 4, dtype=torch.bool))
    optimiser = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(60):
        sums, counts = report_errors(decoder(report.ids, image), report)
        loss = sums.sum() / counts.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.3
    decoder.eval()
    assert torch.equal(decoder(report.ids, image)[:, :-1].argmax(dim=2), report.ids[:, 1:])
    blind = decoder(report.ids, image.flip(0))[:, 0].argmax(dim=1)
    assert blind.tolist() == [6, 4], "with the images swapped the words are those of the other"


def test_bad_input() -> None:
    with pytest.raises(UserError, match="reports of 9 tokens, where the decoder has 8 places"):
        make()(torch.zeros(2, 9, dtype=torch.long), inputs()[1])
    with pytest.raises(UserError, match="3 attention heads do not divide 16 features"):
        ReportDecoderConfig.from_values({"width": 16, "heads": 3}, "config.yaml")
