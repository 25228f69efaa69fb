from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file

from lingula.core.errors import UserError
from lingula.core.offline import VARIABLES
from lingula.models import image_weights
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder

TINY = "test_resnet"


def build(name: str = TINY, **options) -> RadiographEncoder:
    torch.manual_seed(0)
    return RadiographEncoder(ImageEncoderConfig(name=name, **options)).eval()


@pytest.mark.parametrize(
    ("name", "cells"),
    [(TINY, 2), ("resnet18", 2), ("mobilenetv4_conv_small_050", 2), ("convnext_atto", 2), ("test_vit", 4), ("test_mambaout", 2)],
)
@torch.no_grad()
def test_shapes_and_that_pooled_features_are_the_networks_own_pooling(name, cells):
    encoder = build(name)
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    pooled, grid = encoder(images), encoder.feature_map(images)
    assert pooled.shape == (2, encoder.dimension)
    assert grid.shape == (2, encoder.dimension, cells, cells)
    if name in ("mobilenetv4_conv_small_050", "test_mambaout"):
        torch.testing.assert_close(pooled, grid.mean((2, 3)))
    else:
        torch.testing.assert_close(pooled, encoder.model(images), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_rows_of_the_feature_map_run_from_top_to_bottom():
    for name in (TINY, "test_vit"):
        encoder = build(name)
        images = torch.zeros(2, 1, 128, 128)
        images[1, :, :16] = 5.0
        change = (encoder.feature_map(images)[1] - encoder.feature_map(images)[0]).abs().sum(0)
        assert change[0].sum() > change[-1].sum()


def test_the_mobile_networks_hidden_classifier_is_gone():
    encoder = build("mobilenetv4_conv_small_050").train()
    assert encoder.dimension == 480
    assert not any("conv_head" in name for name, _ in encoder.named_parameters())


@pytest.mark.parametrize("name", [TINY, "mobilenetv4_conv_small_050", "convnext_atto", "test_vit"])
def test_every_parameter_gets_a_gradient(name):
    encoder = build(name).train()
    images = torch.randn(4, 1, 64, 64)
    encoder(images).square().sum().backward()
    assert [parameter for parameter, value in encoder.named_parameters() if value.grad is None] == []


@torch.no_grad()
def test_three_channels_repeat_the_grey_image():
    encoder = build(channels=3)
    grey = torch.randn(2, 1, 64, 64)
    assert next(encoder.parameters()).shape[1] == 3
    assert torch.equal(encoder(grey), encoder(grey.repeat(1, 3, 1, 1)))


@torch.no_grad()
def test_output_stride_makes_the_grid_finer_with_the_same_weights():
    coarse, fine = build("resnet18"), build("resnet18", output_stride=8)
    images = torch.randn(1, 1, 96, 96)
    assert coarse.feature_map(images).shape[-1] == 3
    assert fine.feature_map(images).shape[-1] == 12
    assert coarse.state_dict().keys() == fine.state_dict().keys()


def test_drop_path_is_passed_on():
    encoder = build("resnet18", drop_path=0.2)
    assert max(getattr(module, "drop_prob", 0.0) or 0.0 for module in encoder.modules()) == pytest.approx(0.2)


def test_an_option_the_network_lacks_is_a_user_error():
    with pytest.raises(UserError, match="cannot change output_stride"):
        build("densenet121", output_stride=8)


def test_an_unknown_name_is_a_user_error_with_the_nearest():
    with pytest.raises(UserError, match="resnet"):
        build("resnet5O")


@torch.no_grad()
def test_weights_from_a_file_are_the_weights(tmp_path):
    source = build()
    other = build(drop_path=0.1)
    for parameter in other.parameters():
        parameter.add_(1)
    save_file(other.model.state_dict() | {"fc.weight": torch.zeros(10, 96)}, tmp_path / "timm.safetensors")
    save_file(
        {f"image_encoder.{k}": v for k, v in other.state_dict().items()} | {"log_temperature": torch.zeros(1)},
        tmp_path / "run.safetensors",
    )
    images = torch.randn(1, 1, 64, 64)
    assert not torch.allclose(source(images), other(images))
    for file in ("timm", "run"):
        assert torch.equal(build(weights=str(tmp_path / f"{file}.safetensors"))(images), other(images))


@torch.no_grad()
def test_weights_for_three_channels_fit_one_and_back(tmp_path):
    colour, grey = build(channels=3), build()
    save_file(colour.model.state_dict(), tmp_path / "colour.safetensors")
    save_file(grey.model.state_dict(), tmp_path / "grey.safetensors")
    images = torch.randn(1, 1, 64, 64)
    torch.testing.assert_close(build(weights=str(tmp_path / "colour.safetensors"))(images), colour(images), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        build(weights=str(tmp_path / "grey.safetensors"), channels=3)(images), grey(images), rtol=1e-4, atol=1e-5
    )


def test_wrong_weight_files_are_user_errors(tmp_path):
    state = build().model.state_dict()
    pickled = tmp_path / "weights.pth"
    pickled.write_bytes(pickle.dumps({"a": 1}))
    first = next(iter(state))
    save_file({k: v for k, v in state.items() if k != first}, tmp_path / "short.safetensors")
    save_file(state | {"extra": torch.zeros(1)}, tmp_path / "long.safetensors")
    save_file(state | {first: torch.zeros(2, 1, 3, 3)}, tmp_path / "shape.safetensors")
    for file, words in (
        ("missing.safetensors", "no such weights"),
        ("weights.pth", "not a safetensors file"),
        ("short.safetensors", f"lacks {first}"),
        ("long.safetensors", "unknown extra"),
        ("shape.safetensors", f"other shapes for {first}"),
    ):
        with pytest.raises(UserError, match=words):
            build(weights=str(tmp_path / file))


@pytest.mark.parametrize("offline", [True, False])
@pytest.mark.parametrize("name", ["resnet50", "resnet50.tv_in1k"])
def test_imagenet_weights_that_cannot_be_fetched_are_never_replaced_by_random_ones(name, offline, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    if not offline:
        for variable in VARIABLES:
            monkeypatch.delenv(variable)
    what = "not in the local cache and LINGULA_OFFLINE forbids the hub" if offline else "not here and cannot be fetched"
    with pytest.raises(UserError, match=rf"ImageNet weights timm/resnet50\.\w+/model.safetensors are {what}"):
        build(name, weights="imagenet")


def test_a_network_without_imagenet_weights_says_so():
    with pytest.raises(UserError, match="no ImageNet weights"):
        build("botnet50ts_256", weights="imagenet")


@torch.no_grad()
def test_imagenet_weights_in_the_local_cache_are_loaded(tmp_path, monkeypatch):
    import timm

    torch.manual_seed(7)
    network = timm.create_model(TINY)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(tmp_path / "model.safetensors")
    )
    encoder = build(weights="imagenet", channels=3)
    assert asked == [(("timm/test_resnet.r160_in1k", "model.safetensors"), {"local_files_only": True})]
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    grey = build(weights="imagenet")
    torch.testing.assert_close(grey.model.conv1[0].weight, network.conv1[0].weight.sum(1, keepdim=True))
    assert image_weights.imagenet_file(TINY) == tmp_path / "model.safetensors"


@pytest.mark.parametrize("name", [TINY, "test_vit"])
def test_mean_max_pooling_is_the_mean_beside_the_maximum_of_the_cells(name):
    encoder, images = build(name, pooling="mean-max").eval(), torch.randn(2, 1, 96, 96)
    grid = encoder.feature_map(images)
    pooled = encoder(images)
    assert encoder.dimension == 2 * grid.shape[1]
    torch.testing.assert_close(pooled, torch.cat([grid.mean((2, 3)), grid.amax((2, 3))], dim=1))
    torch.testing.assert_close(encoder.cell_features(images)[:, : grid.shape[1]], grid)
    assert encoder.cell_features(images).shape[1] == encoder.dimension


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (TINY, {}),
        (TINY, {"output_stride": 8, "pooling": "mean-max"}),
        ("mobilenetv4_conv_small_050", {}),
        ("resnet50", {"channels": 3}),
    ],
)
@torch.no_grad()
def test_one_pass_gives_the_pyramid_and_the_map_that_is_pooled(name, options):
    encoder = build(name, **options)
    images = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    last, levels = encoder.pyramid(images)
    torch.testing.assert_close(last, encoder.feature_map(images))
    torch.testing.assert_close(encoder.pool(last), encoder(images))
    assert [level.shape[1] for level in levels] == encoder.pyramid_channels
    sides = [level.shape[-1] for level in levels]
    assert sides == ([32, 16, 8, 8, 8] if "output_stride" in options else [32, 16, 8, 4, 2])


def test_a_network_without_a_pyramid_is_refused():
    with pytest.raises(UserError, match="no feature pyramid"):
        build("test_vit").pyramid(torch.zeros(1, 1, 64, 64))
