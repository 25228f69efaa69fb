from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from masked_store import SIDE, BlobEncoder, MaskedStore, Pyramid

from lingula.core.errors import UserError
from lingula.data.augment_config import AugmentConfig
from lingula.evaluation import segmenter_training
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import DenseTrainable
from lingula.evaluation.segment_config import SegmentConfig
from lingula.evaluation.segmentation_scores import THRESHOLDS, PixelCounts
from lingula.evaluation.segmentation_truth import SegmentationTruth, gather_masks
from lingula.evaluation.segmenter import build_segmenter, count_pixels
from lingula.evaluation.segmenter_training import train_segmenter, training_batches, validate
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.unet_decoder import UnetDecoder

TRAIN, VAL, TEST = np.arange(48), np.arange(48, 72), np.arange(72, 96)
FEW: dict[str, Any] = {"channels": (8, 8), "rate": 1e-2, "steps": 6, "every": 2, "batch": 8}


def settings(**values: Any) -> SegmentConfig:
    return SegmentConfig.from_values(FEW | values, "test")


@pytest.fixture
def truth() -> SegmentationTruth:
    store: Any = MaskedStore()
    return gather_masks(store, TRAIN, TEST, EvaluateConfig(store="x"))


def decoder(classes: int = 1) -> UnetDecoder:
    torch.manual_seed(5)
    return UnetDecoder((2, 2), classes, channels=(8, 8))


def trained(truth: SegmentationTruth, given: DenseTrainable | None = None, seed: int = 0, variant: Any = None, **values: Any):
    given = given or BlobEncoder().dense_trainable()
    return train_segmenter(given, truth, settings(**values), variant or ("frozen", "random"), TRAIN, VAL, seed)


def test_pixel_counts_are_those_counted_one_by_one(truth: SegmentationTruth) -> None:
    truth.known[74, 1] = False
    given = BlobEncoder().dense_trainable()
    network = build_segmenter(given, 2, settings(), "frozen", "random")
    counts = count_pixels(network, truth, given.transform, TEST)
    assert counts.area == SIDE**2
    for place in (0, 2, 23):
        row = int(TEST[place])
        images = given.transform.evaluate([truth.store.pixels(row)])
        with torch.no_grad():
            chances = network(images).sigmoid()[0].numpy()
        masks = truth.masks(row)
        for finding in range(2):
            if row == 74 and finding == 1:
                assert np.isnan(counts.truth[place, 1])
                assert np.isnan(counts.predicted[place, 1]).all()
                continue
            assert counts.truth[place, finding] == masks[finding].sum()
            for number, threshold in enumerate(THRESHOLDS):
                found = chances[finding] > np.float32(threshold)
                assert counts.predicted[place, finding, number] == found.sum()
                assert counts.overlap[place, finding, number] == (found & masks[finding]).sum()


def test_a_frozen_encoder_stays_and_a_fine_tuned_one_moves(truth: SegmentationTruth) -> None:
    before = Pyramid().state_dict()

    def moved(variant: Any, **values: Any) -> set[str]:
        network = trained(truth, variant=variant, **values).network
        return {name for name, value in network.encoder.state_dict().items() if not torch.equal(value, before[name])}

    statistics = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert moved(("frozen", "random")) == set()
    assert moved(("frozen", "random"), batch_norm="moving") == statistics
    assert moved(("fine-tuned", "random")) == statistics | {"norm.weight", "norm.bias"}


def test_a_pre_trained_decoder_starts_from_its_weights_with_a_new_last_convolution_where_classes_differ() -> None:
    for classes, findings in ((1, 2), (2, 2)):
        own = decoder(classes)
        expected = {name: value.clone() for name, value in own.state_dict().items()}
        built = build_segmenter(BlobEncoder(own).dense_trainable(), findings, settings(), "frozen", "pre-trained").decoder
        assert built.segmentation_head[0].out_channels == findings
        for name, value in built.state_dict().items():
            if name.startswith("decoder.") or classes == findings:
                assert torch.equal(value, expected[name]), name


def test_one_small_step_from_a_pre_trained_decoder_ends_beside_it(truth: SegmentationTruth) -> None:
    own = decoder(2)
    given = BlobEncoder(own).dense_trainable()
    network = trained(truth, given, variant=("frozen", "pre-trained"), steps=1, every=1, rate=1e-6).network
    for name, value in own.named_parameters():
        near = dict(network.decoder.named_parameters())[name]
        assert (near - value).abs().max() < 1e-5, name
        assert not torch.equal(near, value) or not value.any(), name


def test_a_random_decoder_has_the_shape_of_the_pre_trained_one_and_none_of_its_weights() -> None:
    own = decoder(1)
    built = build_segmenter(BlobEncoder(own).dense_trainable(), 1, settings(channels=()), "frozen", "random").decoder
    fresh = {name: value for name, value in built.named_parameters() if value.ndim > 1}
    assert {name: value.shape for name, value in fresh.items()} == {
        name: value.shape for name, value in own.named_parameters() if value.ndim > 1
    }
    assert not any(torch.equal(value, dict(own.named_parameters())[name]) for name, value in fresh.items())
    wider = build_segmenter(BlobEncoder(own).dense_trainable(), 1, settings(channels=(12, 6)), "frozen", "random").decoder
    assert wider.segmentation_head[0].in_channels == 6


def test_the_best_validation_is_kept_and_waiting_has_an_end(truth: SegmentationTruth, monkeypatch: pytest.MonkeyPatch) -> None:
    qualities, weights, counted = iter([0.5, 0.9, 0.7, 0.6, 0.8, 0.99]), [], []

    def told(network: Any, *others: Any) -> tuple[float, PixelCounts]:
        weights.append(copy.deepcopy(network.state_dict()))
        counted.append(validate(network, *others)[1])
        return next(qualities), counted[-1]

    monkeypatch.setattr(segmenter_training, "validate", told)
    best = trained(truth, steps=100, every=3, patience=3)
    assert (best.step, best.quality, len(weights)) == (6, 0.9, 5)
    assert best.on_val is counted[1]
    assert all(torch.equal(value, weights[1][name]) for name, value in best.network.state_dict().items())
    assert not torch.equal(weights[1]["decoder.segmentation_head.0.weight"], weights[2]["decoder.segmentation_head.0.weight"])
    assert not best.network.training


def test_the_last_step_is_kept_where_validation_has_nothing_to_find(truth: SegmentationTruth) -> None:
    truth.store.found[48:72] = [[] for _ in VAL]
    best = trained(truth, steps=5, every=2, patience=1)
    assert (best.step, np.isnan(best.quality)) == (5, True)
    assert best.on_val.best()[0].tolist() == [0.5, 0.5]


def test_chosen_by_loss_an_incomplete_batch_is_left_out_as_mgca_does(truth: SegmentationTruth) -> None:
    given = BlobEncoder().dense_trainable()
    network = build_segmenter(given, 2, settings(), "frozen", "random")

    def value(rows: np.ndarray, batch: int) -> float:
        return validate(network, truth, given.transform, settings(choose_by="loss", batch=batch), rows)[0]

    assert value(VAL[:20], 8) == pytest.approx((value(VAL[:8], 8) + value(VAL[8:16], 8)) / 2)
    assert value(VAL[:5], 8) == value(VAL[:5], 5)
    assert value(VAL[:8], 8) < 0


def test_seed_decides_weights_order_and_augmentation(truth: SegmentationTruth) -> None:
    one, again, other = (trained(truth, seed=seed).network.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert not torch.equal(one["decoder.segmentation_head.0.weight"], other["decoder.segmentation_head.0.weight"])


def test_an_epoch_shows_every_image_once_with_its_own_masks(truth: SegmentationTruth) -> None:
    strong = AugmentConfig(rotation=20, brightness=0, contrast=0, gamma=0, mean=0, std=1)
    transform = BlobEncoder(augment=strong).dense_trainable().transform
    for augment in (True, False):
        batches = training_batches(truth, transform, settings(augment=augment, batch=16), TRAIN, 0)
        epoch = [next(batches) for _ in range(3)]
        for images, masks, known in epoch:
            assert images.shape == (16, 1, SIDE, SIDE)
            bright = images[:, 0] > 0.8
            assert ((masks[:, 0] > 0) & bright).sum() >= 0.95 * bright.sum(), "what is bright is an Edema"
            assert known.all()
        if not augment:
            shown = sorted(map(bytes, torch.cat([images for images, _, _ in epoch]).numpy()))
            assert shown == sorted(map(bytes, transform.evaluate([truth.store.pixels(row) for row in TRAIN]).numpy()))


@pytest.mark.parametrize("colour", [0, 255])
def test_a_constant_image_is_no_obstacle(truth: SegmentationTruth, colour: int) -> None:
    truth.store.images[:] = colour
    best = trained(truth, variant=("fine-tuned", "random"))
    assert all(value.isfinite().all() for value in best.network.state_dict().values())
    assert np.isfinite(best.on_val.predicted).all()


def test_what_cannot_be_built_is_told(truth: SegmentationTruth) -> None:
    def build(given: DenseTrainable, how: Any = "random", **values: Any) -> None:
        build_segmenter(given, 2, settings(**values), "frozen", how)

    with pytest.raises(UserError, match="no pre-trained decoder"):
        build(BlobEncoder().dense_trainable(), "pre-trained")
    with pytest.raises(UserError, match="3 widths of the decoder for an encoder of 2 levels"):
        build(BlobEncoder().dense_trainable(), channels=(8, 8, 8))
    with pytest.raises(UserError, match="does not fit the encoder's levels of 2, 2 channels"):
        build(BlobEncoder(UnetDecoder((3, 5), 2, channels=(8, 8))).dense_trainable(), "pre-trained")
    tokens: Any = RadiographEncoder(ImageEncoderConfig(name="test_vit"))
    with pytest.raises(UserError, match="has no feature pyramid"):
        build(DenseTrainable(tokens, None, BlobEncoder().dense_trainable().transform))
    with pytest.raises(UserError, match=r"Lower --segment\.rate"):
        trained(truth, rate=1e30)
    for train, val in ((TRAIN[:0], VAL), (TRAIN, VAL[:0])):
        with pytest.raises(UserError, match="image says where a finding is"):
            train_segmenter(BlobEncoder().dense_trainable(), truth, settings(), ("frozen", "random"), train, val, 0)


def test_a_real_encoder_is_a_u_net() -> None:
    store: Any = MaskedStore()
    truth = gather_masks(store, TRAIN, TEST, EvaluateConfig(store="x"))
    transform = BlobEncoder().dense_trainable().transform
    encoder = RadiographEncoder(ImageEncoderConfig(name="test_resnet", output_stride=8))
    given = DenseTrainable(encoder, None, transform)
    before = copy.deepcopy(encoder.state_dict())
    best = train_segmenter(
        given, truth, settings(channels=(16, 16, 8, 8, 8), steps=2), ("frozen", "random"), TRAIN[:8], VAL[:8], 0
    )
    assert best.on_val.predicted.shape == (8, 2, len(THRESHOLDS))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
