"""Run by test_distributed: one process of a training step; writes its losses and gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from lingula.core.batch import Batch
from lingula.core.distributed import process_group, world_from_environment
from lingula.methods.base import Embeddings, Losses, Method
from lingula.training.step import GlobalLosses

SIZE = 12


class Towers(Method):
    """Two trained towers, a head with batch norm, a temperature; negatives, positives of equal text, covariance, labels."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 6))
        self.text = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 6))
        self.head = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
        self.log_temperature = nn.Parameter(torch.tensor(-0.5))

    def encode(self, batch: Batch) -> Embeddings:
        assert batch.images is not None
        assert batch.text_features is not None
        return Embeddings(self.image(batch.images), self.text(batch.text_features))

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        assert batch.groups is not None
        assert batch.labels is not None
        assert len(batch) == SIZE
        image, text = functional.normalize(self.head(embeddings.image)), functional.normalize(self.head(embeddings.text))
        logits = (image @ text.T) / self.log_temperature.exp()
        positives = (batch.groups[:, None] == batch.groups[None]).double()
        contrastive = functional.cross_entropy(logits, positives / positives.sum(1, keepdim=True))
        centred = embeddings.image - embeddings.image.mean(0)
        covariance = (centred.T @ centred / len(centred) - torch.eye(6, dtype=centred.dtype)).square().sum()
        supervised = functional.mse_loss(embeddings.image[:, :2], batch.labels)
        return Losses({"contrastive": contrastive, "covariance": covariance, "labels": supervised}, {"covariance": 0.3})

    def project_image(self, features: Tensor) -> Tensor:
        return self.head(features)

    image_features = dense_features = project_image


def main(folder: Path) -> None:
    """Write `rank-MICRO.pt` for each way of accumulating."""
    world = world_from_environment()
    with process_group(world, torch.device("cpu")):
        for micro in (None, 2):
            torch.manual_seed(5)
            method = Towers().double()
            batch = Batch(
                study_ids=[str(row) for row in range(SIZE)],
                images=torch.randn(SIZE, 1, 6, 6).double(),
                text_features=torch.randn(SIZE, 5).double(),
                groups=torch.arange(SIZE) // 2 * 2**60 // 7,
                labels=torch.randn(SIZE, 2).double(),
            )
            step: nn.Module = GlobalLosses(method, micro)
            if world.size > 1:
                step = DistributedDataParallel(step)
            share = SIZE // world.size
            own = batch[world.rank * share : (world.rank + 1) * share]
            losses = step(own, batch.study_ids)
            losses.total.backward()
            found = {name: parameter.grad for name, parameter in method.named_parameters()}
            found |= {"total": losses.total.detach(), "statistics": method.head[1].running_mean}
            torch.save(found, folder / f"{world.size}-{world.rank}-{micro}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
