from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch

from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.unet_decoder import UnetDecoder

SMALL = (32, 24, 16, 12, 8)


def test_encoder_and_decoder_are_an_smp_unet_with_the_same_weights():
    torch.manual_seed(0)
    whole = smp.Unet("resnet18", encoder_weights=None, in_channels=1, classes=3).eval()
    encoder = RadiographEncoder(ImageEncoderConfig(name="resnet18")).eval()
    decoder = UnetDecoder(encoder.pyramid_channels, classes=3).eval()
    state = whole.state_dict()
    encoder.model.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
    decoder.load_state_dict({k: v for k, v in state.items() if not k.startswith("encoder.")})
    images = torch.randn(2, 1, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(decoder(images, encoder.pyramid(images)[1]), whole(images))


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_logits_have_the_size_of_the_images_whatever_the_stride(stride):
    encoder = RadiographEncoder(ImageEncoderConfig(name="test_resnet", output_stride=stride))
    decoder = UnetDecoder(encoder.pyramid_channels, classes=2, channels=SMALL)
    images = torch.randn(2, 1, 64, 64)
    assert decoder(images, encoder.pyramid(images)[1]).shape == (2, 2, 64, 64)


def test_other_classes_keep_the_blocks():
    decoder = UnetDecoder((8, 8, 8, 8, 8), classes=1, channels=SMALL)
    before = {name: value.clone() for name, value in decoder.decoder.state_dict().items()}
    decoder.with_classes(4)
    assert decoder.segmentation_head[0].weight.shape[0] == 4
    assert all(torch.equal(value, before[name]) for name, value in decoder.decoder.state_dict().items())


def test_a_block_is_needed_for_each_level():
    with pytest.raises(ValueError, match="3 levels"):
        UnetDecoder((8, 8, 8), channels=SMALL)
