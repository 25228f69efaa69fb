"""Memory formats: where they are and where they are not, and that they change no number."""

from __future__ import annotations

import pytest
import torch

from lingula.core.batch import Batch
from lingula.models.unet_decoder import UnetDecoder
from lingula.training.memory_layout import images_laid_out, lay_out


class Dense(torch.nn.Module):
    """An encoder's convolution beside a decoder that is pre-trained along."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = torch.nn.Conv2d(2, 4, 3)
        self.decoder = UnetDecoder([4, 8], channels=[8, 4])

    def pretrained_decoder(self) -> UnetDecoder:
        return self.decoder


def is_channels_last(weight: torch.Tensor) -> bool:
    return weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()


@pytest.mark.parametrize(("precision", "decoder_too"), [("fp32", False), ("bf16", True)])
def test_a_decoder_stays_in_rows_in_fp32_on_a_processor(precision, decoder_too):
    method = Dense()
    lay_out(method, precision, torch.device("cpu"))
    assert is_channels_last(method.encoder.weight)
    kernels = [weight for weight in method.decoder.parameters() if weight.ndim == 4 and weight.shape[1] > 1]
    assert kernels
    assert all(is_channels_last(weight) == decoder_too for weight in kernels)


def test_the_decoder_gives_the_same_in_either_layout_and_whatever_that_of_the_pyramid():
    torch.manual_seed(0)
    decoder = UnetDecoder([4, 8], channels=[8, 4]).double().eval()
    images = torch.rand(2, 1, 16, 16, dtype=torch.double)
    pyramid = [torch.rand(2, 4, 8, 8, dtype=torch.double), torch.rand(2, 8, 4, 4, dtype=torch.double)]
    expected = decoder(images, pyramid)
    mixed = [level.contiguous(memory_format=torch.channels_last) for level in pyramid]
    torch.testing.assert_close(decoder(images, mixed), expected)
    assert decoder(images, mixed).is_contiguous()
    decoder.to(memory_format=torch.channels_last)
    torch.testing.assert_close(decoder(images, pyramid), expected)


def test_radiographs_are_laid_out_and_volumes_are_not():
    images = torch.rand(2, 3, 4, 5)
    assert is_channels_last(images_laid_out(Batch(["a", "b"], images)).images)
    assert torch.equal(images_laid_out(Batch(["a", "b"], images)).images, images)
    volumes = torch.rand(2, 1, 4, 5, 6)
    assert images_laid_out(Batch(["a", "b"], volumes)).images is volumes
    assert images_laid_out(Batch(["a"])).images is None
