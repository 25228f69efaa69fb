from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from bright_squares import SIZE, SquaresEncoder, SquaresStore
from torch import Tensor, nn

from lingula.core.errors import UserError
from lingula.evaluation import detector_training
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.detect_config import DetectConfig
from lingula.evaluation.detection import FoundBoxes
from lingula.evaluation.detection_scores import strict_map
from lingula.evaluation.detection_truth import DetectionTruth, gather_boxes
from lingula.evaluation.detector_training import Schedule, Tuned, look_for, train_detector, training_batches
from lingula.evaluation.detectors import Detector

TRAIN, VAL = np.arange(48), np.arange(48, 72)
BRIGHT = 120 / 255


@pytest.fixture
def store() -> Any:
    return SquaresStore()


def truth_of(store: Any) -> DetectionTruth:
    return gather_boxes(store, np.arange(96), EvaluateConfig(store="x"))  # type: ignore[arg-type]


def settings(**values: Any) -> DetectConfig:
    return DetectConfig.from_values({"head": "retinanet", "width": 8, "augment": False} | values, "test")


def trained(
    store: Any, seed: int = 0, rows: Any = TRAIN, schedule: Schedule | None = None, **values: Any
) -> tuple[Detector, Tuned]:
    given = SquaresEncoder().dense_trainable()
    torch.manual_seed(0)
    detector = Detector(given.encoder, 1, SIZE, settings(**values))
    schedule = schedule or Schedule(batch=8, rate=1e-2, steps=6, every=2)
    config = settings(**values)
    return detector, train_detector(detector, given.transform, store, truth_of(store), rows, VAL, config, schedule, seed)


class Eye(nn.Module):
    """Finds the box around what is bright in an image, in the pixels that it sees."""

    frozen = True

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def levels(self, images: Tensor) -> list[Tensor]:
        return [images]

    def detect(self, levels: list[Tensor]) -> list[FoundBoxes]:
        found = []
        for image in levels[0][:, 0] > 0.5:
            rows, columns = torch.nonzero(image.any(dim=1)).flatten().tolist(), torch.nonzero(image.any(dim=0)).flatten().tolist()
            box = np.array([[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]] if rows else np.zeros((0, 4)), float)
            found.append(FoundBoxes(box, np.ones(len(box)), np.zeros(len(box), np.int64)))
        return found


def test_the_published_schedule_and_what_is_asked_for() -> None:
    plain = DetectConfig()
    assert Schedule.of(plain, 0.01, 200) == Schedule(batch=8, rate=2e-4, steps=50 * 25, every=25)
    assert Schedule.of(plain, 0.1, 200) == Schedule(batch=16, rate=5e-4, steps=50 * 12, every=12)
    assert Schedule.of(plain, 1.0, 5) == Schedule(batch=5, rate=5e-4, steps=50, every=10)
    asked = DetectConfig.from_values({"batch": 4, "rate": 0.1, "steps": 7, "every": 3}, "test")
    assert Schedule.of(asked, 0.01, 200) == Schedule(batch=4, rate=0.1, steps=7, every=3)


@pytest.mark.parametrize(("stored", "seen", "crop"), [(32, 32, 1.0), (64, 32, 1.0), (32, 64, 1.0), (64, 48, 0.75)])
def test_what_is_found_comes_back_in_stored_pixels(stored: int, seen: int, crop: float) -> None:
    store: Any = SquaresStore(size=stored)
    rows = np.array([row for row in range(96) if len(store.boxes[row]) == 1])
    given = SquaresEncoder(size=seen, crop=crop, mean=0, std=1).dense_trainable()
    found = look_for(Eye(), given.transform, store, rows)  # type: ignore[arg-type]
    edge = (stored - round(stored * crop)) / 2
    for row, each in zip(rows, found, strict=True):
        box = np.clip(store.boxes[row][0].box, edge, stored - edge)
        np.testing.assert_allclose(each.boxes[0], box, atol=1.01 * stored * crop / seen)
    if crop == 1:
        assert strict_map([truth_of(store).of[int(row)] for row in rows], found, 1) > 0.7


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("size", [32, 48])
def test_boxes_follow_their_images_and_an_epoch_shows_each_once(store: Any, augment: bool, size: int) -> None:
    strong = {"rotation": 20, "scale": (0.8, 1.2), "translation": 0.1, "mean": 0, "std": 1}
    transform = SquaresEncoder(size=size, **strong).dense_trainable().transform
    batches = training_batches(transform, store, truth_of(store), TRAIN, 16, augment, 0)
    epoch = [next(batches) for _ in range(3)]
    counts, moved = 0, []
    for images, own in epoch:
        assert images.shape == (16, 1, size, size)
        for image, each in zip(images[:, 0], own, strict=True):
            bright, inside = image > 0.5, torch.zeros(size, size, dtype=torch.bool)
            for x1, y1, x2, y2 in each.boxes.tolist():
                inside[max(int(y1) - 1, 0) : int(y2) + 2, max(int(x1) - 1, 0) : int(x2) + 2] = True
                assert bright[round(y1) : round(y2), round(x1) : round(x2)].float().mean() > 0.5
            counts += len(each.boxes)
            moved += each.boxes.tolist()
            if len(each.boxes):
                assert (bright & inside).sum() >= 0.8 * bright.sum()
            else:
                assert bright.sum() <= 10, "at most the rest of a box that has left the view"
    stored = [list(box) for row in TRAIN for box in np.array([r.box for r in store.boxes[row]]).reshape(-1, 4) * size / SIZE]
    if augment:
        assert 0.9 * len(stored) <= counts <= len(stored)
        assert sorted(moved) != sorted(stored)
    else:
        np.testing.assert_allclose(sorted(moved), sorted(stored))


def test_the_best_validation_is_kept_and_waiting_has_an_end(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros at the beginning are not waited for; then three validations without a better one end the training."""
    qualities, weights = iter([0.0, 0.0, 0.0, 0.0, 0.3, 0.9, 0.7, 0.9, 0.8, 0.99]), []
    seen: list[int] = []
    original = Detector.detect

    def told(truth: Any, found: Any, classes: int) -> float:
        seen.append(len(truth))
        return next(qualities)

    def looked(self: Detector, levels: Any) -> list[FoundBoxes]:
        weights.append(copy.deepcopy(self.state_dict()))
        return original(self, levels)

    monkeypatch.setattr(detector_training, "strict_map", told)
    monkeypatch.setattr(Detector, "detect", looked)
    detector, best = trained(store, schedule=Schedule(4, 1e-2, 100, 3), patience=3)
    assert best == Tuned(18, 0.9)
    assert seen == [len(VAL)] * 9
    assert all(torch.equal(value, weights[5][name]) for name, value in detector.state_dict().items())
    assert any(not torch.equal(value, weights[6][name]) for name, value in weights[5].items())
    assert not detector.training


def test_the_last_step_is_validated_too(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    qualities = iter([0.1, 0.2])
    monkeypatch.setattr(detector_training, "strict_map", lambda *given: next(qualities))
    assert trained(store, schedule=Schedule(4, 1e-2, 5, 3))[1] == Tuned(5, 0.2)


def test_seed_decides_order_and_the_same_seed_repeats(store: Any) -> None:
    one, again, other = (trained(store, seed, augment=True)[0].state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_a_fine_tuned_encoder_learns_at_a_tenth_of_the_rate(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[Any] = []
    original = torch.optim.AdamW

    def built(given: Any, **values: Any) -> Any:
        groups.append(given)
        return original(given, **values)

    monkeypatch.setattr(torch.optim, "AdamW", built)
    monkeypatch.setattr(detector_training, "strict_map", lambda *given: 0.1)
    before = SquaresEncoder().encoder.state_dict()
    frozen, _ = trained(store)
    assert all(torch.equal(value, before[name]) for name, value in frozen.encoder.state_dict().items())
    tuned, _ = trained(store, encoder="fine-tuned")
    assert not torch.equal(tuned.encoder.state_dict()["norm.weight"], before["norm.weight"])
    assert [[group["lr"] for group in each] for each in groups] == [[1e-2], [1e-2, pytest.approx(1e-3)]]


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("head", ["yolo", "retinanet"])
def test_a_constant_image_is_no_obstacle(store: Any, colour: int, head: str) -> None:
    store.images[:] = colour
    detector, best = trained(store, head=head, encoder="fine-tuned", schedule=Schedule(8, 1e-2, 2, 1))
    assert np.isfinite(best.quality)
    assert all(value.isfinite().all() for value in detector.state_dict().values())


def test_what_cannot_be_trained_is_told(store: Any) -> None:
    with pytest.raises(UserError, match="training a detector on 1 image is not possible"):
        trained(store, rows=TRAIN[1:2])
    with pytest.raises(UserError, match=r"Lower --detect\.rate"):
        trained(store, schedule=Schedule(8, 1e30, 5, 5))
