from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from lingula.core.batch import Batch, Tokens
from lingula.core.distributed import World
from lingula.data.augment import ImageTransform
from lingula.data.augment_config import AugmentConfig
from lingula.data.loader import BatchBuilder, StepBatch, TextPlan, TrainingLoader
from lingula.data.samples import BatchOrder
from lingula.data.text.views import text_views

ROWS = 30


class FakeStore:
    size, findings = 16, ["A", "B"]

    def __init__(self, broken_row: int | None = None) -> None:
        self._pixels = np.random.default_rng(0).integers(0, 256, (ROWS, 16, 16), dtype=np.uint8)
        self._broken = broken_row

    def column(self, name: str) -> list[str]:
        return [f"{name}-{row}" for row in range(ROWS)]

    def pixels(self, row: int) -> np.ndarray:
        if row == self._broken:
            raise ValueError(f"row {row} is damaged")
        return self._pixels[row]

    def text(self, row: int, sections: Sequence[str] | None = None) -> str:
        return f"Finding {row % 5}. No effusion. Normal heart."

    def labels(self, rows: Sequence[int], findings: Sequence[str]) -> np.ndarray:
        return np.array([[row % 2, np.nan] for row in rows], dtype=np.float32)


def lookup(texts: list[str]) -> torch.Tensor:
    return torch.tensor([[float(len(text)), float(sum(map(ord, text)))] for text in texts])


def make(workers: int = 0, world: World | None = None, augment: bool = True, **options: Any) -> TrainingLoader:
    store: Any = options.pop("store", FakeStore())
    text = options.pop("text", TextPlan("mixed", lookup=lookup))
    build = BatchBuilder(store, ImageTransform(AugmentConfig(), 16), seed=5, text=text, augment=augment, **options)
    return TrainingLoader(build, BatchOrder(np.arange(ROWS), 8, seed=5), world, workers)


def same(first: Batch, second: Batch) -> bool:
    tensors = ("images", "groups", "text_features")
    equal = all(torch.equal(getattr(first, name), getattr(second, name)) for name in tensors)
    return equal and first.texts == second.texts and first.study_ids == second.study_ids


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_any_step_can_be_the_first_and_workers_change_nothing(workers: int) -> None:
    """10 steps are more than three epochs of three steps."""
    expected = [make().batch(step) for step in range(10)]
    found = list(make(workers).batches(4, 10))
    assert [item.step for item in found] == list(range(4, 10))
    assert [item.epoch for item in found] == [1, 1, 2, 2, 2, 3]
    assert all(same(item.batch, expected[item.step].batch) for item in found)


def test_processes_share_the_batch_of_one() -> None:
    """Every rank says the same order of all studies, that of gathered embeddings; together they have each sample once."""
    whole = make().batch(4)
    parts = [make(world=World(rank, 4)).batch(4) for rank in range(4)]
    gathered = [study for part in parts for study in part.batch.study_ids]
    assert all(part.study_ids == gathered for part in parts)
    assert whole.study_ids == whole.batch.study_ids
    assert len(set(gathered)) == len(gathered) == len(whole.study_ids)
    place = [gathered.index(study) for study in whole.study_ids]
    for name in ("images", "text_features", "groups"):
        joined = torch.cat([getattr(part.batch, name) for part in parts])
        assert torch.equal(joined[place], getattr(whole.batch, name))


def test_equal_parts_of_all_processes_are_a_part_of_one() -> None:
    """Batch norms over processes and micro-batches see what those of one process with the larger micro-batch see."""
    whole = make().batch(4).batch
    shares = [make(world=World(rank, 2)).batch(4).batch for rank in range(2)]
    for start in range(0, len(shares[0]), 2):
        together = {study for share in shares for study in share[start : start + 2].study_ids}
        assert together == set(whole[2 * start : 2 * start + 4].study_ids)


def test_no_study_is_trained_on_twice_in_an_epoch_nor_by_two_processes() -> None:
    """30 samples, 8 per step, 4 processes: the rest of an epoch, too small for a batch, is left out."""
    loaders = [make(world=World(rank, 4)) for rank in range(4)]
    for epoch in range(3):
        steps = range(3 * epoch, 3 * epoch + 3)
        seen = [study for step in steps for loader in loaders for study in loader.batch(step).batch.study_ids]
        assert len(seen) == len(set(seen)) == 24


def test_texts_are_views_drawn_anew_in_every_epoch() -> None:
    store = FakeStore()
    loader = make()
    seen: dict[str, set[str]] = {}
    for step in range(30):
        batch = loader.batch(step).batch
        assert batch.texts is not None
        for study, text in zip(batch.study_ids, batch.texts, strict=True):
            seen.setdefault(study, set()).add(text)
    allowed = set(text_views(store.text(3), "mixed"))
    assert seen["study_id-3"] <= allowed
    assert len(seen["study_id-3"]) > 1


def test_equal_texts_have_equal_groups() -> None:
    batch = make().batch(0).batch
    assert batch.texts is not None
    assert batch.groups is not None
    assert batch.groups.dtype == torch.int64
    for i, first in enumerate(batch.texts):
        for j, second in enumerate(batch.texts):
            assert (first == second) == bool(batch.groups[i] == batch.groups[j])
    assert torch.equal(batch.text_features, lookup(batch.texts))


def test_validation_is_the_same_in_every_epoch_and_not_augmented() -> None:
    build = make(augment=False).build
    rows = np.arange(4)
    expected = ImageTransform(AugmentConfig(), 16).evaluate([FakeStore().pixels(row) for row in range(4)])
    assert torch.equal(build(rows, 0).images, expected)
    assert same(build(rows, 0), build(rows, 0))


def test_a_trained_text_encoder_gets_tokens_and_a_supervised_method_labels() -> None:
    def tokenise(texts: list[str]) -> Tokens:
        return Tokens(torch.ones(len(texts), 3, dtype=torch.long), torch.ones(len(texts), 3, dtype=torch.bool))

    batch = make(text=TextPlan("report", tokenise=tokenise)).batch(0).batch
    assert batch.text_features is None
    assert batch.tokens is not None
    assert batch.tokens.ids.shape == (8, 3)
    labelled = make(text=None, findings=["A", "B"]).batch(0).batch
    assert labelled.texts is labelled.groups is labelled.tokens is None
    assert labelled.labels is not None
    numbers = [int(study.split("-")[1]) for study in labelled.study_ids]
    assert labelled.labels[:, 0].tolist() == [number % 2 for number in numbers]
    assert labelled.labels[:, 1].isnan().all()


def test_an_error_in_the_background_reaches_the_loop() -> None:
    row = int(BatchOrder(np.arange(ROWS), 8, seed=5).rows(1)[0])
    batches = make(store=FakeStore(broken_row=row)).batches(0, 3)
    assert next(batches).step == 0
    with pytest.raises(ValueError, match=f"row {row} is damaged"):
        list(batches)


def test_leaving_early_ends_the_thread_and_keeps_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    batches = make().batches(0, 1000)
    next(batches)
    assert torch.get_num_threads() == 2
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "loader"]
    torch.set_num_threads(before)


def test_no_steps_give_no_batches() -> None:
    assert list(make().batches(5, 5)) == []


def test_step_batch_keeps_the_rest_when_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor.clone())
    item = make().batch(0)
    pinned: StepBatch = item.pin_memory()
    assert same(pinned.batch, item.batch)
    assert pinned.batch.images is not item.batch.images
