from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from bright_squares import BAR, SIZE, SQUARE, SquaresEncoder, SquaresStore

from lingula.core.errors import UserError
from lingula.data.store_schema import StoredRegion
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.detection_scores import METRICS, OVERLAPS
from lingula.evaluation.detector_training import Tuned
from lingula.evaluation.pictures import load_pictures
from lingula.evaluation.result import TaskResult
from lingula.evaluation.tasks import detect
from lingula.evaluation.tasks.detect import run
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder

SMALL: dict[str, Any] = {"rate": 1e-2, "every": 20, "width": 16, "batch": 8, "augment": False}
ENOUGH: dict[str, dict[str, Any]] = {"yolo": {"steps": 80, "rate": 2e-2}, "retinanet": {"steps": 60}}
WHOLE = "100 %"


def config(values: dict[str, Any] | None = None, **others: Any) -> EvaluateConfig:
    few = {"store": "x", "bootstrap": 20, "fraction": [1.0], "detect": SMALL | (values or {})}
    return EvaluateConfig.from_values(few | others, "test")


def quick(**others: Any) -> EvaluateConfig:
    """One step without validation of its own: for what does not depend on how well something is found."""
    return config({"steps": 1, "head": "retinanet"}, **({"bootstrap": 0} | others))


@pytest.fixture
def store() -> Any:
    return SquaresStore()


@pytest.fixture(scope="module", params=["yolo", "retinanet"])
def trained(request: pytest.FixtureRequest) -> tuple[TaskResult, bool]:
    """What a trained head finds, and whether the encoder is still what it was."""
    encoder, squares = SquaresEncoder(), SquaresStore()
    before = {name: value.clone() for name, value in encoder.encoder.state_dict().items()}
    result = run(encoder, squares, config({"head": request.param} | ENOUGH[request.param], label=[SQUARE]))  # type: ignore[arg-type]
    return result, all(torch.equal(value, before[name]) for name, value in encoder.encoder.state_dict().items())


def boxes_of(result: TaskResult) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Image to its true boxes and its found ones with their scores before them, as the table of predictions has them."""
    images: dict[str, tuple[list[list[float]], list[list[float]]]] = {}
    for line in result.predictions.to_pylist():
        own, said = images.setdefault(line["row_id"], ([], []))
        corners = [line[name] for name in ("x1", "y1", "x2", "y2")]
        if line["kind"] == "truth":
            own.append(corners)
        if line["kind"] == "found":
            said.append([line["score"], *corners])
    return {name: (np.reshape(own, (-1, 4)), np.reshape(said, (-1, 5))) for name, (own, said) in images.items()}


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    inside = np.prod(np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None))
    return float(inside / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - inside))


def average_precision(images: list[tuple[np.ndarray, np.ndarray]], threshold: float) -> float:
    """By its definition: boxes by falling score, each true box hit once, the best precision at that recall or a higher one."""
    ranked = sorted(((-line[0], image, number) for image, (_, said) in enumerate(images) for number, line in enumerate(said)))
    count, taken, curve, hits = sum(len(own) for own, _ in images), set(), [], 0
    for place, (_, image, number) in enumerate(ranked, start=1):
        own, said = images[image]
        free = {n: overlap(said[number, 1:], box) for n, box in enumerate(own) if (image, n) not in taken}
        best = max(free, key=lambda n: free[n], default=None)
        if best is not None and free[best] >= threshold:
            taken.add((image, best))
            hits += 1
        curve.append((hits / count, hits / place))
    return float(np.mean([max((p for r, p in curve if r >= recall), default=0.0) for recall in np.linspace(0, 1, 101)]))


def mean_precision(images: list[tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([average_precision(images, threshold) for threshold in OVERLAPS]))


def test_a_head_on_a_frozen_encoder_finds_the_squares(trained: tuple[TaskResult, bool], tmp_path: Path) -> None:
    result, untouched = trained
    assert untouched, "neither weights nor statistics of the encoder may move"
    strict = result.find("mAP (strict)", "", WHOLE)
    assert strict.value > 0.4
    assert strict.low < strict.value <= strict.high
    assert (strict.n, strict.positives) == (24, 12)
    images = list(boxes_of(result).values())
    boxed = [place for place, (own, _) in enumerate(images) if len(own)]
    others = dict(zip(boxed, boxed[1:] + boxed[:1], strict=True))
    moved = [(own, images[others.get(place, place)][1]) for place, (own, _) in enumerate(images)]
    assert mean_precision(moved) < 0.2 * strict.value, "boxes laid on another image are chance"
    assert result.find("sensitivity at 2 FP per image (strict)", "", WHOLE).value >= strict.value
    assert any("12 of the 24 scored images have a box" in note for note in result.notes)
    assert (result.protocol["findings"], result.protocol["trained"], result.split) == ([SQUARE], "head", "test")
    result.save(tmp_path)
    pictures = load_pictures(tmp_path)
    assert len(pictures) == 6
    assert sum("no true boxes" in picture.caption for picture in pictures) == 2


def test_the_two_scorers_say_what_the_boxes_give_by_hand(trained: tuple[TaskResult, bool]) -> None:
    result, _ = trained
    images = list(boxes_of(result).values())
    assert len(images) == 24
    assert result.find("mAP (strict)", "", WHOLE).value == pytest.approx(mean_precision(images))
    assert result.find("AP50 (strict)", "", WHOLE).value == pytest.approx(average_precision(images, 0.5))
    seen = [(own, said[said[:, 0] >= 0.5]) for own, said in images]
    counted = [(own, said) for own, said in seen if len(own) and len(said)]
    published = result.find("mAP (mgca)", "", WHOLE)
    assert published.value == pytest.approx(mean_precision(counted))
    assert (published.n, published.positives) == (len(counted), 12)
    assert any(f"it counts {len(counted)} at {WHOLE}" in note for note in result.notes)


def test_false_boxes_in_healthy_images_count_in_strict_alone(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that knows the truth and says as confidently that something lies in every healthy image."""
    from lingula.evaluation.detection import FoundBoxes

    def look_for(detector: Any, transform: Any, store: Any, rows: np.ndarray) -> list[FoundBoxes]:
        own = [[region.box for region in store.regions(int(row))] or [(0, 0, 8, 8)] for row in rows]
        return [FoundBoxes(np.array(boxes), np.full(len(boxes), 0.9), np.zeros(len(boxes), int)) for boxes in own]

    monkeypatch.setattr(detect, "look_for", look_for)
    result = run(SquaresEncoder(), store, quick())
    assert result.find("mAP (mgca)", "", WHOLE).value == pytest.approx(1)
    assert result.find("mAP (mgca)", "", WHOLE).n == 12
    assert result.find("mAP (strict)", "", WHOLE).n == 24
    assert 0.55 < result.find("mAP (strict)", "", WHOLE).value < 0.95
    assert result.find("sensitivity at 0.5 FP per image (strict)", "", WHOLE).value == 1
    only = run(SquaresEncoder(), store, quick(scorer=["mgca"]))
    assert {row.metric for row in only.rows} == set(METRICS["mgca"])
    assert not any("mgca" in note for note in run(SquaresEncoder(), store, quick(scorer=["strict"])).notes)


def test_boxes_of_test_have_no_influence_on_what_is_found(store: Any) -> None:
    settings = config({"steps": 12, "every": 4, "head": "retinanet"}, bootstrap=0)
    before = boxes_of(run(SquaresEncoder(), store, settings))
    for row in range(72, 96):
        store.boxes[row] = [StoredRegion(each.finding, _mirrored(each.box)) for each in store.boxes[row]]
    after = boxes_of(run(SquaresEncoder(), store, settings))
    assert sum(len(said) for _, said in before.values()) > 20
    for name, (own, said) in before.items():
        np.testing.assert_array_equal(said, after[name][1])
        assert not len(own) or not np.array_equal(own, after[name][0])


def _mirrored(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return SIZE - box[2], box[1], SIZE - box[0], box[3]


def test_fractions_draw_whole_patients_and_validation_chooses(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[int], list[int]]] = []

    def told(detector: Any, transform: Any, store: Any, truth: Any, train: Any, val: Any, *others: Any) -> Tuned:
        calls.append((train.tolist(), val.tolist()))
        return Tuned(len(calls), 0.5)

    monkeypatch.setattr(detect, "train_detector", told)
    result = run(SquaresEncoder(), store, quick(fraction=[0.25, 1.0], draws=2))
    assert result.settings == ["25 %", WHOLE]
    (one, _), (two, _), (whole, _) = calls
    assert whole == list(range(48))
    assert len(one) == len(two) == 12
    assert one != two
    for drawn in (one, two):
        patients = {row // 2 for row in drawn}
        assert sorted(drawn) == sorted(row for patient in patients for row in (2 * patient, 2 * patient + 1))
    assert all(val == list(range(48, 72)) for _, val in calls)
    assert any("25 % of labels: 2× on 12 images, best validation at step 1 to 2." in note for note in result.notes)
    units = {(line["setting"], line["unit"]) for line in result.predictions.to_pylist() if line["kind"] == "found"}
    assert units <= {("25 %", 0), ("25 %", 1), (WHOLE, 0)}
    calls.clear()
    run(SquaresEncoder(), store, quick(fraction=[0.25], draws=2))
    assert [train for train, _ in calls] == [one, two], "every encoder learns from the same patients"


def test_folds_score_every_image_once(store: Any) -> None:
    result = run(SquaresEncoder(), store, quick(folds=3))
    assert result.split == "3 folds"
    assert len(boxes_of(result)) == 96
    lines = result.predictions.to_pylist()
    scorers: dict[str, set[int]] = {}
    for line in lines:
        if line["kind"] == "found":
            scorers.setdefault(line["row_id"], set()).add(line["unit"])
    assert all(len(units) == 1 for units in scorers.values())
    assert result.find("mAP (strict)", "", WHOLE).n == 32, "the mean over folds"


def test_every_finding_is_a_class_where_that_is_asked_for(store: Any) -> None:
    result = run(SquaresEncoder(), store, config({"steps": 1, "head": "retinanet", "classes": "each"}, bootstrap=0))
    positives = {row.label: row.positives for row in result.rows if row.metric == "mAP (strict)"}
    assert positives == {BAR: 6, SQUARE: 12, "macro": None}
    truth = [line["class"] for line in result.predictions.to_pylist() if line["kind"] == "truth"]
    assert (truth.count(BAR), truth.count(SQUARE)) == (6, 12)


def test_a_draw_without_any_box_finds_nothing_and_says_so(store: Any) -> None:
    """One patient of 24 has boxes, and one patient is drawn."""
    for row in range(2, 48):
        store.boxes[row] = []
        store._labels[row] = 0
    result = run(SquaresEncoder(), store, quick(fraction=[0.04], draws=3))
    assert any("4 % of labels: 3 draws had no box to learn from and find nothing." in note for note in result.notes)
    assert result.find("mAP (strict)", "", "4 %").value == 0
    assert result.find("mAP (mgca)", "", "4 %").value == 0
    assert not any(line["kind"] == "found" for line in result.predictions.to_pylist())


def test_labelled_images_whose_boxes_nobody_drew_are_left_out(store: Any) -> None:
    store.boxes[73] = []
    result = run(SquaresEncoder(), store, quick())
    assert "r073" not in boxes_of(result)
    assert result.find("mAP (strict)", "", WHOLE).n == 23
    assert any("1 images are left out: labelled" in note for note in result.notes)


def test_a_fine_tuned_encoder_learns_in_a_copy(store: Any) -> None:
    encoder = SquaresEncoder()
    before = {name: value.clone() for name, value in encoder.encoder.state_dict().items()}
    result = run(encoder, store, config({"steps": 2, "head": "retinanet", "encoder": "fine-tuned"}, bootstrap=0))
    assert result.protocol["trained"] == "head, and encoder at 0.1 of the rate"
    assert all(torch.equal(value, before[name]) for name, value in encoder.encoder.state_dict().items())


@pytest.mark.parametrize(
    "box", [(9, 9, 5, 20), (40, 0, 50, 9), (0, -9, 8, 0), (5, 5, 5, 9), (np.nan, 0, 8, 8), (0, 0, np.inf, 8)]
)
def test_boxes_inverted_empty_not_finite_or_outside_are_told(store: Any, box: tuple[float, ...]) -> None:
    store.boxes[5] = [StoredRegion(SQUARE, box)]  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"of image r005 is inverted, not finite or outside its 32 pixels"):
        run(SquaresEncoder(), store, quick())


def test_boxes_partly_outside_are_clipped(store: Any) -> None:
    store.boxes[73] = [StoredRegion(SQUARE, (-4.0, 20.0, 10.0, 40.0))]
    assert boxes_of(run(SquaresEncoder(), store, quick()))["r073"][0].tolist() == [[0, 20, 10, 32]]


@pytest.mark.parametrize(("name", "rows"), [("training", (0, 48)), ("validation", (48, 72)), ("scored", (72, 96))])
def test_a_part_without_any_box_is_told(store: Any, name: str, rows: tuple[int, int]) -> None:
    for row in range(*rows):
        store.boxes[row] = []
        store._labels[row] = 0
    with pytest.raises(UserError, match=f"none of the {rows[1] - rows[0]} {name} images has a box of {BAR}, {SQUARE}"):
        run(SquaresEncoder(), store, quick())


def test_bad_requests_are_told(store: Any) -> None:
    with pytest.raises(UserError, match="does not give its image tower away"):
        run(SimpleNamespace(name="blind"), store, quick())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no box of 'Lung Nodul'") as told:
        run(SquaresEncoder(), store, quick(label=["Lung Nodul"]))
    assert SQUARE in str(told.value)
    with pytest.raises(UserError, match="has no feature pyramid"):
        run(SquaresEncoder(RadiographEncoder(ImageEncoderConfig(name="test_vit"))), store, quick())
    with pytest.raises(UserError, match=r"loss of the detector is (nan|inf)"):
        run(SquaresEncoder(), store, config({"steps": 4, "rate": 1e30, "head": "retinanet"}))
    store.boxes = [[] for _ in store.boxes]
    with pytest.raises(UserError, match="no box of a finding among 96 images"):
        run(SquaresEncoder(), store, quick())


def test_the_options_repeat_the_task() -> None:
    words = config({"head": "retinanet"}, scorer=["strict"]).options("detect")
    assert "--task detect" in words
    assert "--detect.head retinanet" in words
    assert "--detect.no-augment" in words
    assert "--scorer strict" in words
