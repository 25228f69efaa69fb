"""The small language model: what it masks, what it learns, and that it is the same every time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch

from lingula.core.errors import UserError
from lingula.methods import language_model
from lingula.methods.language_model import semantic_embeddings, train_language_model
from lingula.methods.masked_language_model import IGNORED, mask_tokens
from lingula.methods.sentence_matching import TextPair
from lingula.methods.tokeniser import MASK, SPECIAL, train_tokeniser
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder

FINDINGS = ("effusion", "nodule", "fracture", "cardiomegaly", "atelectasis", "edema")
PRESENT = ("There is {}.", "A {} is seen.", "Small {} on the left.")
ABSENT = ("No {}.", "There is no {}.", "Negative for {}.")
TEXTS = [frame.format(finding) for finding in FINDINGS for frame in PRESENT + ABSENT]
TEXTS += [f"{first} {second}" for first, second in itertools.permutations(TEXTS, 2)]
TINY = SmallLanguageModelConfig(
    vocabulary=120, layers=1, width=32, heads=2, max_tokens=48, word_steps=0, steps=3, batch_tokens=512
)


@pytest.fixture(scope="module")
def losses_and_encoder() -> tuple[list[float], TextEncoder]:
    losses: list[float] = []
    config = TINY.model_copy(update={"steps": 150, "layers": 2, "learning_rate": 4e-3})

    def note(step: int, values: Mapping[str, float]) -> None:
        assert step == len(losses) + 1
        losses.append(values["masked_loss"])

    return losses, train_language_model(TEXTS, config, seed=0, progress=False, note=note)


def embed(encoder: TextEncoder, texts: list[str]) -> torch.Tensor:
    return encoder(encoder.tokenise(texts))


def mean_cosine(features: torch.Tensor) -> float:
    units = torch.nn.functional.normalize(features, dim=-1)
    return float(((units @ units.T).sum() - len(units)) / (len(units) * (len(units) - 1)))


def test_the_same_texts_and_seed_give_the_same_model_whatever_ran_before() -> None:
    first = train_language_model(TEXTS, TINY, seed=1, progress=False).fingerprint()
    torch.rand(7)
    assert train_language_model(TEXTS + TEXTS[:9], TINY, seed=1, progress=False).fingerprint() == first
    assert train_language_model(TEXTS, TINY, seed=2, progress=False).fingerprint() != first


def test_training_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_language_model(TEXTS, TINY, seed=1, progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_eight_of_ten_chosen_tokens_are_masked_one_is_random_one_stays() -> None:
    ids = torch.randint(len(SPECIAL), 100, (400, 100), generator=torch.Generator().manual_seed(0))
    ids[:, 0], ids[:, -1] = 2, 0
    masked, targets = mask_tokens(ids, 100, 0.2, torch.Generator().manual_seed(1))
    chosen = targets != IGNORED
    assert torch.equal(targets[chosen], ids[chosen])
    assert torch.equal(masked[~chosen], ids[~chosen])
    assert not chosen[:, 0].any()
    assert not chosen[:, -1].any()
    assert float(chosen[:, 1:-1].float().mean()) == pytest.approx(0.2, abs=0.01)
    assert float((masked[chosen] == MASK).float().mean()) == pytest.approx(0.8, abs=0.02)
    assert float((masked[chosen] == ids[chosen]).float().mean()) == pytest.approx(0.1, abs=0.02)
    assert int(masked[masked != ids].min()) >= MASK


def test_it_learns_more_than_how_frequent_words_are(losses_and_encoder: tuple[list[float], TextEncoder]) -> None:
    losses, encoder = losses_and_encoder
    tokens = torch.tensor([number for row in encoder.token_ids(TEXTS) for number in row if number >= len(SPECIAL)])
    shares = torch.bincount(tokens).double() / len(tokens)
    entropy = float(torch.special.entr(shares).sum())
    assert sum(losses[-20:]) / 20 < 0.9 * entropy


def test_features_are_spread(losses_and_encoder: tuple[list[float], TextEncoder]) -> None:
    _, encoder = losses_and_encoder
    texts = TEXTS[:: len(TEXTS) // 100]
    plain = TextEncoder(encoder.model, encoder.tokeniser, encoder.pooling)
    assert mean_cosine(embed(encoder, texts)) < 0.2
    assert mean_cosine(embed(plain, texts)) > 0.6


def test_presence_and_absence_of_a_finding_never_seen_in_that_sentence_are_told_apart(
    losses_and_encoder: tuple[list[float], TextEncoder],
) -> None:
    _, encoder = losses_and_encoder
    present = embed(encoder, [frame.format(finding) for finding in FINDINGS for frame in PRESENT])
    absent = embed(encoder, [frame.format(finding) for finding in FINDINGS for frame in ABSENT])
    for held_out in range(len(FINDINGS)):
        kept = [row for row in range(len(present)) if row // 3 != held_out]
        direction = present[kept].mean(0) - absent[kept].mean(0)
        middle = (present[kept].mean(0) + absent[kept].mean(0)) / 2
        asked = slice(3 * held_out, 3 * held_out + 3)
        right = ((present[asked] - middle) @ direction > 0).sum() + ((absent[asked] - middle) @ direction < 0).sum()
        assert int(right) >= 5, FINDINGS[held_out]


def test_the_encoder_is_frozen_in_evaluation_mode_and_read_again_by_transformers(
    losses_and_encoder: tuple[list[float], TextEncoder], tmp_path: object
) -> None:
    from transformers import AutoModel, AutoTokenizer

    _, encoder = losses_and_encoder
    assert encoder.frozen
    assert not encoder.train().training
    encoder.save(tmp_path)  # type: ignore[arg-type]
    tokeniser, model = AutoTokenizer.from_pretrained(tmp_path), AutoModel.from_pretrained(tmp_path)
    ids = tokeniser(TEXTS[0], return_tensors="pt")
    tokens = encoder.tokenise([TEXTS[0]])
    assert torch.equal(ids["input_ids"], tokens.ids)
    expected = encoder.model(input_ids=tokens.ids).last_hidden_state
    torch.testing.assert_close(model(**ids).last_hidden_state, expected, atol=1e-5, rtol=1e-5)


def test_the_vocabulary_starts_with_the_special_tokens_and_ignores_case() -> None:
    tokeniser = train_tokeniser(TEXTS, TINY)
    assert tokeniser.convert_tokens_to_ids(list(SPECIAL)) == list(range(len(SPECIAL)))
    assert tokeniser("No Effusion")["input_ids"] == tokeniser("no effusion")["input_ids"]
    assert len(tokeniser) <= TINY.vocabulary


def test_semantic_embeddings_put_words_of_the_same_texts_together() -> None:
    ids = [[2, 6, 7, 3], [2, 6, 7, 8, 3], [2, 9, 10, 3], [2, 9, 10, 8, 3]] * 3
    embeddings = semantic_embeddings(ids, 12, 8, seed=0)
    assert embeddings.shape == (12, 8)
    assert not embeddings[:6].any()
    assert not embeddings[11].any()
    assert float(embeddings[6] @ embeddings[7]) > 0.9
    assert abs(float(embeddings[6] @ embeddings[9])) < 0.1
    torch.testing.assert_close(embeddings[6:11].norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("head", range(4))
def test_before_training_each_head_looks_at_its_neighbour(head: int) -> None:
    config = TINY.model_copy(update={"width": 128, "heads": 4})
    torch.manual_seed(0)
    bert = language_model._small_bert(60, config).bert
    language_model._start_well(bert, torch.nn.functional.normalize(torch.randn(60, 96), dim=1))
    ids = torch.randint(5, 60, (20, 30))
    weights = bert.eval()(input_ids=ids, output_attentions=True).attentions[0][:, head].mean(0)
    wanted = language_model.NEIGHBOURS[head]
    inside = range(5, 25)
    assert sum(int(weights[row].argmax()) - row == wanted for row in inside) >= 18


def test_without_layers_a_text_is_the_weighted_mean_of_its_words_and_their_order_does_not_matter() -> None:
    config = TINY.model_copy(update={"layers": 0, "word_steps": 5})
    pairs = [TextPair(first, second, number) for number, (first, second) in enumerate(itertools.pairwise(TEXTS[:40]))]
    encoder = train_language_model(TEXTS, config, seed=0, progress=False, pairs=pairs)
    assert encoder.dimension == config.width
    there, back = embed(encoder, ["small effusion on the left", "left the on effusion small"])
    torch.testing.assert_close(there, back, atol=1e-5, rtol=1e-5)
    assert float((there - embed(encoder, ["small nodule on the left"])[0]).abs().max()) > 0.1


def test_each_phase_changes_the_model_and_only_with_pairs() -> None:
    pairs = [TextPair(first, second, number) for number, (first, second) in enumerate(itertools.pairwise(TEXTS[:40]))]
    plain = train_language_model(TEXTS, TINY, seed=1, progress=False).fingerprint()
    seen = {plain}
    for phase in ("word_steps", "sentence_steps"):
        config = TINY.model_copy(update={phase: 2, "sentence_pairs": 8})
        assert train_language_model(TEXTS, config, seed=1, progress=False).fingerprint() == plain
        seen.add(train_language_model(TEXTS, config, seed=1, progress=False, pairs=pairs).fingerprint())
    assert len(seen) == 3


@pytest.mark.parametrize(("texts", "changes"), [(["one text", "one text", " "], {}), (TEXTS, {"width": 36, "heads": 4})])
def test_what_cannot_be_trained_is_a_user_error(texts: list[str], changes: dict[str, int]) -> None:
    with pytest.raises(UserError):
        train_language_model(texts, TINY.model_copy(update=changes), seed=0, progress=False)
