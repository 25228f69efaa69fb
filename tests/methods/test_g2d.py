from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from lingula.core.batch import Batch, Tokens
from lingula.core.errors import UserError
from lingula.methods.g2d import G2D
from lingula.methods.g2d_config import G2DConfig, PseudoMaskConfig
from lingula.methods.registry import presets
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.text_encoder import TextEncoder
from lingula.objectives import contrastive_loss, dice_bce_loss, pseudo_masks
from lingula.training.recipes import recipe

TEXT_FEATURES, SIDE = 12, 32
BOTH = pytest.mark.parametrize("pooling", ["attention", "weighted-mean"])
SMALL = {"latent": 16, "hidden": 16, "decoder_channels": (16, 12, 8, 8, 8), "dense_warmup": 0, "dense_rise": 0}


@pytest.fixture
def encoder() -> RadiographEncoder:
    torch.manual_seed(0)
    return RadiographEncoder(ImageEncoderConfig(name="test_resnet", output_stride=8))


def make(encoder: RadiographEncoder, text_encoder: TextEncoder | None = None, **options) -> G2D:
    torch.manual_seed(1)
    dimension = TEXT_FEATURES if text_encoder is None else text_encoder.dimension
    return G2D(G2DConfig(**SMALL | options), encoder, SIDE, dimension, text_encoder)


@BOTH
def test_it_learns_both_terms(encoder, tiny_batch, train, pooling):
    method = make(encoder, pooling=pooling)
    before = method.losses(method.encode(tiny_batch), tiny_batch.without_pixels()).terms["dense"].item()
    history = train(method, tiny_batch, steps=20)
    assert history[-1] < 0.6 * history[0]
    method.train()
    terms = method.losses(method.encode(tiny_batch), tiny_batch.without_pixels()).terms
    assert terms["dense"] < 0.8 * before
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in method.named_parameters() if "in_proj_bias" not in n)


@BOTH
def test_the_terms_are_what_the_equations_say(encoder, tiny_batch, pooling):
    """Slow way: the pooled images contrasted, and the decoder's logits of each image against its own mask."""
    method = make(encoder, positives="one", pooling=pooling).eval()
    losses = method.losses(method.encode(tiny_batch), tiny_batch.without_pixels())
    _, pyramid = encoder.pyramid(tiny_batch.images)
    images, text = method.encode_image(tiny_batch.images), method.text_head(tiny_batch.text_features)
    torch.testing.assert_close(losses.terms["contrastive"], contrastive_loss(images, text, 0.07))
    attention = method.attention_maps(tiny_batch.images)
    masks = pseudo_masks(attention, (SIDE, SIDE), interpolation="bilinear", domain="body", image=tiny_batch.images)
    torch.testing.assert_close(losses.terms["dense"], dice_bce_loss(method.decoder(tiny_batch.images, pyramid), masks))
    assert losses.total.item() == pytest.approx((losses.terms["contrastive"] + losses.terms["dense"]).item())


def test_the_masks_teach_nobody_but_the_decoder_and_what_feeds_it(encoder, tiny_batch):
    """A target has no gradient: attention and text learn nothing from the dense term."""
    method = make(encoder, pooling="attention").train()
    losses = method.losses(method.encode(tiny_batch), tiny_batch.without_pixels())
    losses.terms["dense"].backward()
    assert all(p.grad is None for part in (method.attention_pool, method.image_head, method.text_head) for p in part.parameters())
    assert all(p.grad is not None for p in method.decoder.parameters())
    assert all(p.grad is not None for p in encoder.parameters())


def test_images_without_a_mask_do_not_count(encoder, tiny_batch):
    method = make(encoder).eval()
    blank = replace(tiny_batch, images=torch.cat([tiny_batch.images[:16], torch.zeros_like(tiny_batch.images[16:])]))
    embeddings = method.encode(blank)
    with torch.no_grad():
        alone = method.encode(blank[slice(0, 16)]).per_image["dense"].mean()
    constant = {"dense_counts": torch.cat([torch.ones(16), torch.zeros(16)])}
    embeddings = replace(embeddings, per_image=embeddings.per_image | constant)
    torch.testing.assert_close(method.losses(embeddings, blank.without_pixels()).terms["dense"], alone)
    none = replace(embeddings, per_image={name: value * 0 for name, value in embeddings.per_image.items()})
    assert method.losses(none, blank.without_pixels()).terms["dense"] == 0


@pytest.mark.parametrize(
    ("warmup", "rise", "expected"),
    [(0, 0, [1, 1, 1, 1]), (0.5, 0, [0, 1, 1, 1]), (2, 8, [0, 3 / 8, 1, 1]), (200, 0, [0, 0, 0, 0])],
)
def test_the_dense_term_warms_up_in_training_alone(encoder, tiny_batch, warmup, rise, expected):
    method = make(encoder, dense_warmup=warmup, dense_rise=rise, dense_weight=2.0)
    embeddings = method.encode(tiny_batch)
    for step, share in zip((0, 5, 10, 19), expected, strict=True):
        method.at_step(step, 10)
        assert method.train().losses(embeddings, tiny_batch).weights["dense"] == pytest.approx(2 * share)
        assert method.eval().losses(embeddings, tiny_batch).weights["dense"] == 2.0


def test_ablations_of_the_dense_term(encoder, tiny_batch):
    own = make(encoder).eval()
    shuffled = make(encoder, dense="shuffled-mask").eval()
    shuffled.load_state_dict(own.state_dict())
    last, pyramid = encoder.pyramid(tiny_batch.images)
    masks = own.make_masks(own._pool(last)[1], tiny_batch.images)
    expected = dice_bce_loss(own.decoder(tiny_batch.images, pyramid), torch.cat([masks[-1:], masks[:-1]]))
    found = shuffled.losses(shuffled.encode(tiny_batch), tiny_batch)
    torch.testing.assert_close(found.terms["dense"], expected)
    nothing = make(encoder, dense="none")
    assert nothing.pretrained_decoder() is None
    assert set(nothing.losses(nothing.encode(tiny_batch), tiny_batch).terms) == {"contrastive"}
    picture = make(encoder, dense="reconstruction", mask={"per_head": True}).eval()
    grey = tiny_batch.images - tiny_batch.images.amin((2, 3), keepdim=True)
    grey = grey / grey.amax((2, 3), keepdim=True)
    error = (picture.decoder(tiny_batch.images, pyramid) - grey).square().mean()
    torch.testing.assert_close(picture.losses(picture.encode(tiny_batch), tiny_batch).terms["dense"], error)


def test_one_mask_per_head(encoder, tiny_batch):
    method = make(encoder, mask=PseudoMaskConfig(per_head=True)).eval()
    assert method.decoder.segmentation_head[0].weight.shape[0] == 4
    assert torch.isfinite(method.losses(method.encode(tiny_batch), tiny_batch).total)


def test_dense_features_are_what_attention_averages(encoder, tiny_batch):
    """One head: the pooled vector is the attention's mean of the dense cells and of the mean token's value."""
    method = make(encoder, heads=1, pooling="attention").eval()
    pool, (last, _) = method.attention_pool, encoder.pyramid(tiny_batch.images)
    cells = method._projected(last)
    pooled, attention = pool(cells)
    mean = functional.linear(
        cells.mean((2, 3)) + pool.positional_embedding[0], pool.mhsa.in_proj_weight[32:], pool.mhsa.in_proj_bias[32:]
    )
    mean = pool.c_proj(pool.mhsa.out_proj(mean))
    slow = attention[:, 0, :1] * mean + torch.einsum("bn,bdn->bd", attention[:, 0, 1:], pool.dense(cells).flatten(2))
    torch.testing.assert_close(pooled, slow, rtol=1e-4, atol=1e-5)
    dense = method.dense_features(tiny_batch.images)
    assert dense.shape == (32, 16, 4, 4)
    torch.testing.assert_close(dense.norm(dim=1), torch.ones(32, 4, 4))


@pytest.mark.parametrize("pooling", ["mean", "mean-max"])
def test_cells_that_are_all_alike_look_like_their_mean(tiny_batch, pooling):
    """Weights sum to one: where every cell is the same, each dense cell is the pooled image."""
    method = make(RadiographEncoder(ImageEncoderConfig(name="test_resnet", output_stride=8, pooling=pooling)), heads=2).eval()
    same = torch.rand(3, 96, 1, 1).expand(-1, -1, 4, 4)
    pooled, attention = method._pool(same)
    weights = method.attention_pool(same)[1]
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 2))
    torch.testing.assert_close(attention.flatten(2), weights[:, :, 1:])
    cells = method._cells_as_pooled(same)
    torch.testing.assert_close(cells, pooled[:, :, None, None].expand_as(cells), rtol=1e-4, atol=1e-5)


@BOTH
def test_one_pass_gives_features_and_latents(encoder, tiny_batch, pooling):
    method = make(encoder, pooling=pooling).eval()
    features, latents = method.features_and_latents(tiny_batch.images)
    torch.testing.assert_close(features, method.image_features(tiny_batch.images))
    torch.testing.assert_close(latents, functional.normalize(method._latents(method.encode(tiny_batch).image)))
    attention = method.attention_maps(tiny_batch.images)
    assert attention.shape == (32, 4, 4, 4)
    assert bool((attention.sum((2, 3)) < 1).all()), "the mean token has a share of its own"


def text_batch(encoder: TextEncoder, batch: Batch, texts: list[str]) -> Batch:
    return replace(batch[slice(0, len(texts))], tokens=encoder.tokenise(texts), text_features=None)


@pytest.fixture
def text_encoder(tiny_text_encoder) -> TextEncoder:
    return tiny_text_encoder(pooling="cls", frozen=False, layers=2)


def test_padding_is_in_no_statistic_unless_asked_for(encoder, tiny_batch, text_encoder):
    texts = ["effusion", "no effusion on the left", "clear lungs", "heart is large and lungs are clear"]
    for positions, unchanged in (("real", True), ("first", True), ("all", False)):
        method = make(encoder, text_encoder, text_positions=positions).train()
        text_encoder.eval()
        batch = text_batch(text_encoder, tiny_batch, texts)
        more = torch.zeros(4, 7, dtype=torch.long)
        padded = replace(
            batch, tokens=Tokens(torch.cat([batch.tokens.ids, more], 1), torch.cat([batch.tokens.mask, more.bool()], 1))
        )
        short, long = (method._text_latents(each) for each in (batch, padded))
        assert torch.allclose(short, long, atol=1e-5) == unchanged


def test_real_positions_are_the_tokens_of_all_texts(encoder, tiny_batch, text_encoder):
    """Slow way: batch norm over the concatenated tokens, text by text."""
    method = make(encoder, text_encoder).train()
    text_encoder.eval()
    batch = text_batch(text_encoder, tiny_batch, ["effusion", "no effusion on the left", "clear lungs"])
    states = text_encoder.token_states(batch.tokens)
    hidden = [method.text_head.hidden(row[real]) for row, real in zip(states, batch.tokens.mask, strict=True)]
    every = torch.cat(hidden)
    mean, spread = every.mean(0), (every.var(0, correction=0) + 1e-5).sqrt()
    slow = torch.stack([method.text_head.output(functional.relu((rows[0] - mean) / spread)) for rows in hidden])
    torch.testing.assert_close(method._text_latents(batch), slow, rtol=1e-4, atol=1e-5)


def test_evaluation_reads_a_text_as_training_did(encoder, tiny_batch, text_encoder):
    method = make(encoder, text_encoder).eval()
    batch = text_batch(text_encoder, tiny_batch, ["effusion", "clear lungs"])
    features = method.encode_text(text_encoder(batch.tokens))
    torch.testing.assert_close(features, functional.normalize(method._text_latents(batch)))


def test_heads_that_do_not_divide_the_width_and_poolings_that_do_not_fit(encoder, tiny_text_encoder):
    for pooling in ("attention", "weighted-mean"):
        with pytest.raises(UserError, match="These do: 1, 2, 4"):
            make(encoder, heads=3, pooling=pooling)
        method = make(encoder, heads=3, attention_width=15, pooling=pooling)
        assert method.attention_maps(torch.rand(2, 1, SIDE, SIDE)).shape == (2, 3, 4, 4)
    with pytest.raises(UserError, match="pools by mean"):
        make(encoder, tiny_text_encoder(pooling="mean", frozen=False, layers=1))
    with pytest.raises(UserError, match="no feature pyramid"):
        make(RadiographEncoder(ImageEncoderConfig(name="test_vit")))


def test_presets(encoder):
    released, paper = presets("g2d")["released"], presets("g2d")["paper"]
    assert (released["optimisation"]["learning_rate"], released["optimisation"]["weight_decay"]) == (2e-5, 1e-8)
    assert (released["method"]["dense_warmup"], released["optimisation"]["restart_period"]) == (200, 200)
    assert released["method"]["contrastive_weight"] == 2.0, "the sum of both directions"
    assert (paper["method"]["heads"], paper["method"]["latent"], paper["optimisation"]["batch_size"]) == (3, 128, 2048)
    for name in ("released", "paper", "sound"):
        config = recipe("g2d", name)
        G2D(config.method, encoder, SIDE, TEXT_FEATURES)
    assert recipe("g2d", "released").method.mask.domain == "image"
    assert recipe("g2d", "paper").method.mask.inclusive
