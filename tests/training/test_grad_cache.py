from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from lingula.core.batch import Batch
from lingula.methods.base import Embeddings, Losses, Method
from lingula.training.grad_cache import encode_in_parts
from lingula.training.step import GlobalLosses


class Towers(Method):
    """Towers with dropout and, where asked for, batch norm; a head whose batch norm must see the whole batch."""

    def __init__(self, batch_norm: bool = False) -> None:
        super().__init__()
        norm: nn.Module = nn.BatchNorm2d(4) if batch_norm else nn.Identity()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.Tanh(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 6))
        self.text = nn.Linear(5, 6)
        self.head = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))

    def encode(self, batch: Batch) -> Embeddings:
        assert batch.images is not None
        assert batch.text_features is not None
        return Embeddings(self.image(batch.images), self.text(batch.text_features))

    def towers(self) -> list[nn.Module]:
        return [self.image, self.text]

    def losses(self, embeddings: Embeddings, batch: Batch) -> Losses:
        image, text = self.head(embeddings.image), self.head(embeddings.text)
        return Losses({"all": (image @ text.T).logsumexp(1).mean() + (image.T @ image).square().mean()})

    def encode_image(self, images: Tensor) -> Tensor:
        return self.image(images)

    features_and_latents = image_features = dense_features = encode_image


def batch_of(size: int) -> Batch:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 1, 6, 6, generator=generator, dtype=torch.float64)
    text = torch.randn(size, 5, generator=generator, dtype=torch.float64)
    return Batch([str(row) for row in range(size)], images=images, text_features=text)


def gradients(method: Method, size: int | None, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(7)
    loss = GlobalLosses(method, size)(batch, batch.study_ids).total
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}


def test_parts_give_the_gradients_of_the_whole_batch() -> None:
    torch.manual_seed(0)
    whole = Towers().double()
    whole.image[4] = nn.Identity()
    for size in (1, 3, 5, 10):
        one, many = copy.deepcopy(whole), copy.deepcopy(whole)
        loss, expected = gradients(one, None, batch_of(10))
        loss_in_parts, found = gradients(many, size, batch_of(10))
        torch.testing.assert_close(loss_in_parts, loss, rtol=0, atol=1e-12)
        assert found.keys() == expected.keys()
        for name in expected:
            torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-10)


def test_second_pass_draws_the_same_dropout() -> None:
    """The reference encodes the parts one by one and keeps all activations."""
    torch.manual_seed(0)
    method = Towers().double()
    reference = copy.deepcopy(method)
    batch = batch_of(8)
    _, found = gradients(method, 3, batch)
    torch.manual_seed(7)
    parts = [reference.encode(batch[start : start + 3]) for start in range(0, 8, 3)]
    embeddings = Embeddings(torch.cat([p.image for p in parts]), torch.cat([p.text for p in parts if p.text is not None]))
    reference.losses(embeddings, batch).total.backward()
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-12)


def test_tower_batch_norm_counts_every_part_once() -> None:
    torch.manual_seed(0)
    method = Towers(batch_norm=True).double()
    reference = copy.deepcopy(method)
    batch = batch_of(8)
    gradients(method, 4, batch)
    with torch.no_grad():
        for start in (0, 4):
            reference.encode(batch[start : start + 4])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(method.get_buffer(f"image.1.{name}"), reference.get_buffer(f"image.1.{name}"))
    assert method.image[1].momentum == 0.1


def test_only_one_part_is_in_memory() -> None:
    method, batch = Towers().double(), batch_of(8)
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        encode_in_parts(method, batch, 2)
        in_parts = sum(kept)
        kept.clear()
        encode_in_parts(method, batch, None)
    assert in_parts < sum(kept) / 3
