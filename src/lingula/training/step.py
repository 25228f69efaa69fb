"""One forward pass of one step: encode this process's samples, gather, losses on the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.core.distributed import gather, gather_with_gradient
from lingula.methods.base import Embeddings, Losses, Method
from lingula.training.grad_cache import encode_in_parts


class GlobalLosses(nn.Module):
    """What DDP wraps: a batch share in, the losses of the global batch out, equal on every process.

    Args:
        method: Towers, heads and objectives.
        micro_batch_size: Samples per process that are encoded at once; None: all.
    """

    def __init__(self, method: Method, micro_batch_size: int | None = None) -> None:
        super().__init__()
        self.method, self.micro_batch_size = method, micro_batch_size

    def forward(self, batch: Batch, study_ids: list[str]) -> Losses:
        """Return the losses of the global batch.

        Args:
            batch: This process's samples.
            study_ids: Studies of the global batch.
        """
        own = encode_in_parts(self.method, batch, self.micro_batch_size)
        text = None if own.text is None else gather_with_gradient(_full_precision(own.text))
        per_image = {name: gather_with_gradient(_full_precision(own.per_image[name])) for name in sorted(own.per_image)}
        whole = Embeddings(gather_with_gradient(_full_precision(own.image)), text, per_image)
        return self.method.losses(whole, _gather_batch(batch, study_ids))


def _gather_batch(batch: Batch, study_ids: list[str]) -> Batch:
    """Make the global batch that `Method.losses` sees: no pixels, tokens or texts, but groups and labels of all."""
    groups = None if batch.groups is None else gather(batch.groups)
    labels = None if batch.labels is None else gather(batch.labels)
    slots = None if batch.opposite_labels is None else gather(batch.opposite_labels)
    return Batch(study_ids=study_ids, groups=groups, labels=labels, opposite_labels=slots)


def _full_precision(tensor: Tensor) -> Tensor:
    """Leave half precision behind before anything is summed over a batch."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
