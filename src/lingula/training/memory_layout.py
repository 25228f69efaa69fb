"""In which order the axes of weights and images lie in memory: what the convolutions of a device are fastest with."""

from __future__ import annotations

from dataclasses import replace

import torch

from lingula.core.batch import Batch
from lingula.core.precision import Precision
from lingula.methods.base import Method


def lay_out(method: Method, precision: Precision, device: torch.device) -> None:
    """Lay the weights of 2-D convolutions channels-last, in place.

    A pre-trained decoder stays in rows on a processor in fp32: there the gradients of its few, large maps take longer
    channels-last (docs/results/speed.md). A method of volumes stays as it is: see `images_laid_out`.
    """
    if any(parameter.ndim == 5 for parameter in method.parameters()):
        return
    method.to(memory_format=torch.channels_last)
    decoder = method.pretrained_decoder()
    if decoder is not None and device.type == "cpu" and precision == "fp32":
        decoder.to(memory_format=torch.contiguous_format)


def images_laid_out(batch: Batch) -> Batch:
    """Return the batch with its radiographs channels-last; volumes stay as they are, because no encoder convolves them twice."""
    if batch.images is None or batch.images.ndim != 4:
        return batch
    return replace(batch, images=batch.images.contiguous(memory_format=torch.channels_last))
