"""COLIPRI as a method: its terms, its presets, batches without text, and that a batch in parts learns as the whole."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from small_colipri import small
from torch.nn import functional

from lingula.core.batch import Batch, Tokens
from lingula.core.errors import UserError
from lingula.methods.colipri import ColipriMethod
from lingula.methods.colipri_config import PRESETS, ColipriMethodConfig
from lingula.models.text_encoder import TextEncoder
from lingula.objectives import contrastive_loss, hidden_patches, kept_patches, masked_image_error, report_errors
from lingula.training.step import GlobalLosses

SHAPE, GRID, SLOTS = (8, 4, 12), (4, 2, 3), 2
ENCODER = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": (2, 2, 4), "drop_path": 0.0}
SMALL: dict[str, Any] = {
    "encoder": ENCODER,
    "image_pooler_heads": 2,
    "text_pooler_heads": 2,
    "report_decoder": {"width": 16, "layers": 1, "heads": 2, "max_tokens": 24, "dropout": 0.0},
    "opposite_slots": SLOTS,
}
WHOLE = {"report_weight": 1.0, "masked_weight": 1.0}
TEXTS = ["effusion on the left", "no effusion", "clear lungs", "heart is large", "lungs are clear", "heart is large and clear"]
Make = Callable[..., ColipriMethod]


@pytest.fixture
def text_encoder(tiny_text_encoder: Callable[..., TextEncoder]) -> TextEncoder:
    encoder = tiny_text_encoder(pooling="mean", frozen=False, layers=2)
    return encoder.train_partly(0, False, dropout=False)


@pytest.fixture
def make(text_encoder: TextEncoder) -> Make:
    def build(**options: Any) -> ColipriMethod:
        torch.manual_seed(1)
        config = ColipriMethodConfig.from_values(SMALL | options, "the small sizes")
        return ColipriMethod(config, copy.deepcopy(text_encoder))

    return build


@pytest.fixture
def batch(text_encoder: TextEncoder) -> Batch:
    """Six volumes; the third has no slot, and the first and second texts' opposites are each other."""
    generator = torch.Generator().manual_seed(0)
    pairs = [text for row in range(6) for slot in range(SLOTS) for text in (TEXTS[(row + slot) % 6], TEXTS[(row + slot + 1) % 6])]
    flat = text_encoder.tokenise(pairs)
    shape = (6, SLOTS, 2, -1)
    labels = torch.tensor([[1, 0], [0, -1], [-1, -1], [1, 1], [0, 0], [1, -1]])
    return Batch(
        study_ids=[str(row) for row in range(6)],
        images=torch.randn(6, 1, *SHAPE, generator=generator),
        tokens=text_encoder.tokenise(TEXTS),
        report=text_encoder.tokenise([f"{text} {text}" for text in TEXTS]),
        groups=torch.arange(6),
        keys=[100 + row for row in range(6)],
        opposites=Tokens(flat.ids.reshape(shape), flat.mask.reshape(shape)),
        opposite_labels=labels,
    )


def unpaired(batch: Batch) -> Batch:
    return replace(batch, tokens=None, report=None, groups=None, opposites=None, opposite_labels=None)


@pytest.mark.parametrize(
    ("preset", "terms"),
    [
        ("c", {"contrastive", "opposite"}),
        ("cr", {"contrastive", "opposite", "report"}),
        ("cm", {"contrastive", "opposite", "masked"}),
        ("crm", {"contrastive", "opposite", "report", "masked"}),
    ],
)
def test_presets_are_the_published_variants(make: Make, batch: Batch, preset: str, terms: set[str]) -> None:
    values = PRESETS[preset]["method"]
    full = ColipriMethodConfig.from_values(values, preset)
    assert full.encoder.embed_dim == 864, "the released encoder"
    method = make(**{name: value for name, value in values.items() if name != "name"})
    losses = method.losses(method.encode(batch), batch.without_pixels())
    assert losses.terms.keys() == terms
    expected = sum(getattr(method.config, f"{name}_weight") * value for name, value in losses.terms.items())
    torch.testing.assert_close(losses.total, expected)
    reports = losses.terms.get("report", torch.zeros(()))
    torch.testing.assert_close(
        losses.choice, expected - reports, msg="reports that are learned by heart must not choose the best"
    )


def test_the_terms_are_what_the_equations_say(make: Make, batch: Batch) -> None:
    method = make(**WHOLE).double().eval()
    batch = replace(batch, images=batch.images.double())
    losses = method.losses(method.encode(batch), batch.without_pixels())
    tower, features = method.image_encoder, method.image_encoder.features(batch.images)
    image, text = tower.pooled(features), method.text_encoder(batch.tokens)
    torch.testing.assert_close(losses.terms["contrastive"], contrastive_loss(image, text, 0.07))

    kept = kept_patches(batch.keys, 24, 0.75)
    hidden = hidden_patches(kept, 24)
    predicted = method.masked_decoder(tower.backbone.tokens(batch.images, kept), kept, hidden, GRID)
    error = masked_image_error(predicted, batch.images, hidden, (2, 2, 4))
    torch.testing.assert_close(losses.terms["masked"], error.mean())

    logits = method.report_decoder(batch.report.ids, features.flatten(2).transpose(1, 2))
    sums, counts = report_errors(logits, batch.report, 0.1)
    torch.testing.assert_close(losses.terms["report"], sums.sum() / counts.sum())

    slow = []
    for row, slot in (batch.opposite_labels >= 0).nonzero().tolist():
        pair = Tokens(batch.opposites.ids[row, slot], batch.opposites.mask[row, slot])
        cosines = functional.cosine_similarity(image[row], method.text_encoder(pair), dim=1)
        slow.append(-torch.log_softmax(cosines / 0.07, dim=0)[1 - batch.opposite_labels[row, slot]])
    torch.testing.assert_close(losses.terms["opposite"], torch.stack(slow).mean())
    assert losses.logged["opposite_slots"] == pytest.approx(8 / 12)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("paired", [True, False])
def test_a_batch_in_parts_has_the_gradients_of_the_whole(make: Make, batch: Batch, size: int, paired: bool) -> None:
    """Masks are keyed by sample, sums of words and slots are over the whole batch: nothing depends on how it was cut."""
    whole, parts = make(**WHOLE).double().train(), make(**WHOLE).double().train()
    batch = replace(batch if paired else unpaired(batch), images=batch.images.double())
    found = []
    for method, micro in ((whole, None), (parts, size)):
        loss = GlobalLosses(method, micro)(batch, batch.study_ids).total
        loss.backward()
        found.append((loss.detach(), {name: p.grad for name, p in method.named_parameters() if p.grad is not None}))
    (loss, gradients), (loss_in_parts, gradients_in_parts) = found
    torch.testing.assert_close(loss_in_parts, loss, rtol=0, atol=1e-10)
    assert gradients.keys() == gradients_in_parts.keys()
    for name in gradients:
        torch.testing.assert_close(gradients_in_parts[name], gradients[name], rtol=0, atol=1e-9)


def test_all_parts_learn_from_pairs(make: Make, batch: Batch) -> None:
    method = make(**WHOLE).train()
    method.losses(method.encode(batch), batch.without_pixels()).total.backward()
    without = [name for name, p in method.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert all("in_proj_bias" in name or "k_proj" in name or ".key." in name for name in without), without


def test_volumes_without_text_teach_encoder_and_decoder_of_patches_alone(make: Make, batch: Batch) -> None:
    method = make(**WHOLE).train()
    losses = method.losses(method.encode(unpaired(batch)), unpaired(batch).without_pixels())
    paired = method.losses(method.encode(batch), batch.without_pixels())
    assert losses.terms.keys() == {"masked"}
    torch.testing.assert_close(losses.terms["masked"], paired.terms["masked"])
    losses.total.backward()
    taught = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
    assert taught == {"image_encoder", "masked_decoder"}
    heads = [p.grad for part in (method.image_encoder.pooler, method.image_encoder.projector) for p in part.parameters()]
    assert heads == [None] * len(heads)


@pytest.mark.parametrize("preset", ["c", "cr"])
def test_volumes_without_text_are_refused_where_nothing_learns_from_them(make: Make, batch: Batch, preset: str) -> None:
    method = make(**{name: value for name, value in PRESETS[preset]["method"].items() if name != "name"})
    with pytest.raises(UserError, match=r"volumes without text reached COLIPRI .* choose --preset cm or crm"):
        method.encode(unpaired(batch))


def test_reports_without_a_positive_finding_anywhere_cost_nothing(make: Make, batch: Batch) -> None:
    """No slot is valid: the term is 0, and so are its gradients."""
    method = make(contrastive_weight=0.0).train()
    empty = replace(batch, opposite_labels=torch.full_like(batch.opposite_labels, -1))
    losses = method.losses(method.encode(empty), empty.without_pixels())
    assert losses.terms["opposite"] == 0
    losses.total.backward()
    assert all(not p.grad.any() for p in method.parameters() if p.grad is not None)
    assert torch.equal(empty.opposite_labels, torch.full_like(batch.opposite_labels, -1)), "the batch stays as it was"


def test_the_mask_of_a_volume_does_not_depend_on_its_neighbours(make: Make, batch: Batch) -> None:
    method = make(**WHOLE).eval()
    together = method.encode(batch).per_image["masked"]
    alone = torch.cat([method.encode(batch[slice(row, row + 1)]).per_image["masked"] for row in range(6)])
    torch.testing.assert_close(together, alone)
    other = method.encode(replace(batch, keys=[key + 1000 for key in batch.keys])).per_image["masked"]
    assert not torch.allclose(other, together)


def test_padding_of_texts_has_no_influence(make: Make, batch: Batch) -> None:
    method = make(**WHOLE).eval()

    def longer(tokens: Tokens) -> Tokens:
        return Tokens(functional.pad(tokens.ids, (0, 3), value=5), functional.pad(tokens.mask, (0, 3)))

    padded = replace(batch, tokens=longer(batch.tokens), report=longer(batch.report), opposites=longer(batch.opposites))
    one, other = (method.losses(method.encode(each), each.without_pixels()).terms for each in (batch, padded))
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_it_learns_all_four(make: Make, batch: Batch, train: Callable[..., list[float]]) -> None:
    method = make(**WHOLE)
    before = method.losses(method.encode(batch), batch.without_pixels()).terms
    train(method, batch, steps=60, learning_rate=5e-3)
    after = method.losses(method.encode(batch), batch.without_pixels()).terms
    for name, least in {"contrastive": 0.5, "opposite": 0.5, "report": 0.7, "masked": 0.98}.items():
        assert after[name] < least * before[name], name


def test_what_evaluation_reads_is_what_training_contrasts(make: Make, batch: Batch) -> None:
    method = make().eval()
    embeddings = method.encode(batch)
    features, latents = method.features_and_latents(batch.images)
    torch.testing.assert_close(latents, functional.normalize(embeddings.image))
    torch.testing.assert_close(features, method.image_features(batch.images))
    torch.testing.assert_close(method.encode_text(method.text_encoder(batch.tokens)), functional.normalize(embeddings.text))
    dense = method.dense_features(batch.images)
    assert dense.shape == (6, 16, *GRID)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(6, *GRID))
    alike = torch.full((1, 1, *SHAPE), 0.3)
    with torch.no_grad():
        for block in method.image_encoder.backbone.eva.blocks:
            block.gamma_1.zero_()
    torch.testing.assert_close(method.dense_features(alike)[0, :, 1, 1, 2], method.encode_image(alike)[0])


def test_names_of_the_volume_tower_are_those_of_the_released_model(make: Make) -> None:
    """So that export is a renaming, and the released weights can be where training starts."""
    ours = {name for name in make().state_dict() if name.startswith("image_encoder.") and ".blocks.1." not in name}
    released = {name for name in small().state_dict() if name.startswith("image_encoder.") and ".blocks.1." not in name}
    assert ours == released
    assert {"text_encoder.pooler.attn.in_proj_weight", "text_encoder.pooler.attn.out_proj.bias"} <= make().state_dict().keys()


def test_the_temperature_is_learned_and_bounded(make: Make, batch: Batch) -> None:
    method = make().train()
    method.losses(method.encode(batch), batch.without_pixels()).total.backward()
    assert method.log_temperature.grad is not None
    with torch.no_grad():
        method.log_temperature.fill_(math.log(1e-4))
    losses = method.losses(method.encode(batch), batch.without_pixels())
    assert losses.logged["temperature"].item() == pytest.approx(0.01)
    assert method.temperature == pytest.approx(0.01)


def test_the_best_needs_a_loss_that_there_is() -> None:
    with pytest.raises(ValidationError, match=r"no loss of this training is in best_by \(masked\): name one of its own"):
        ColipriMethodConfig(best_by=("masked",))


def test_one_slot_whose_statement_would_always_be_true_is_refused() -> None:
    with pytest.raises(ValidationError, match="opposite_slots"):
        ColipriMethodConfig(opposite_slots=1)


def test_what_a_batch_must_have(make: Make, batch: Batch, tiny_text_encoder: Callable[..., TextEncoder]) -> None:
    method = make(**WHOLE)
    for field, said in [("images", "no images"), ("keys", "no keys"), ("report", "no reports"), ("opposites", "no opposite")]:
        with pytest.raises(ValueError, match=said):
            method.encode(replace(batch, **{field: None}))
    with pytest.raises(UserError, match="a volume of 8x4x13 voxels cannot be cut into patches of 2x2x4"):
        method.encode(replace(batch, images=torch.zeros(6, 1, 8, 4, 13)))
    with pytest.raises(UserError, match="reports of 25 tokens, where the decoder has 24 places"):
        method.encode(replace(batch, report=Tokens(torch.zeros(6, 25, dtype=torch.long), torch.ones(6, 25, dtype=torch.bool))))
    with pytest.raises(UserError, match=r"Set text_encoder\.frozen to false"):
        ColipriMethod(method.config, tiny_text_encoder(pooling="mean", frozen=True, layers=1))
    with pytest.raises(UserError, match="5 attention heads do not divide 16 features"):
        make(text_pooler_heads=5)
