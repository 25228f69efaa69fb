"""Batches larger than memory: the encoders see parts, the losses see the whole.

Encoding each part keeps no activations; the losses run once on all embeddings; the backward pass encodes each part again,
with the same random numbers, and sends the embeddings' gradient through it. That is GradCache (Gao et al. 2021,
arXiv 2101.06983) by way of activation checkpointing (Chen et al. 2016, arXiv 1604.06174): one graph, so that gradient hooks
(DDP) see each parameter once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from lingula.core.batch import Batch
from lingula.methods.base import Embeddings, Method


def encode_in_parts(method: Method, batch: Batch, micro_batch_size: int | None) -> Embeddings:
    """Encode a batch with the activations of one part at a time in memory; exact, but batch norms in the towers see parts.

    Args:
        method: Its `encode` is called once per part, and once more in the backward pass.
        batch: This process's samples.
        micro_batch_size: Samples per part; None: all at once, without a second pass.
    """
    if micro_batch_size is None or micro_batch_size >= len(batch):
        return method.encode(batch)
    starts = range(0, len(batch), micro_batch_size)
    parts = [_encode_again_later(method, batch[start : start + micro_batch_size]) for start in starts]
    texts = [part.text for part in parts if part.text is not None]
    per_image = {name: torch.cat([part.per_image[name] for part in parts]) for name in parts[0].per_image}
    return Embeddings(torch.cat([part.image for part in parts]), torch.cat(texts) if texts else None, per_image)


def _encode_again_later(method: Method, part: Batch) -> Embeddings:
    def encode(images: Tensor | None) -> Embeddings:
        return method.encode(replace(part, images=images))

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(method)

    embeddings: Embeddings = checkpoint(encode, part.images, use_reentrant=False, context_fn=contexts)
    return embeddings


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Leave the running statistics of batch norms as they are: the first pass has counted this part already."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before: list[tuple[float | None, Any]] = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
