"""The whole way, small: phantom, store, three runs, evaluation, page; then the finished runs through the public interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import lingula
from lingula import demo
from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.store import Store
from lingula.evaluation.result import TaskResult


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder and store of a tiny demo."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "STUDIES", {"train": 72, "val": 40, "test": 60})
        patch.setattr(demo, "SIZE", 48)
        small = {"vocabulary": 300, "width": 32, "steps": 3}
        budget = {"data": {"image_size": 48, "text_view": "report"}, "text_encoder": {"small": small}}
        budget["optimisation"] = {"steps": 3, "batch_size": 24}
        patch.setattr(demo, "BUDGET", demo.BUDGET | budget)
        demo.run_demo(folder / "runs", folder / "store")
    return folder / "runs", folder / "store"


def test_demo_leaves_three_runs_and_one_page(finished: tuple[Path, Path]) -> None:
    runs, _ = finished
    page = (runs / "report.html").read_text()
    assert all(name in page for name in ("clip", "m-flag", "supervised", "Phantom numbers"))
    assert "http://" not in page.replace("http://www.w3.org", "")
    for method in demo.METHODS:
        assert (runs / method / "evaluation").is_dir()


def test_a_loaded_model_compares_prompts_and_draws_heat_maps(finished: tuple[Path, Path]) -> None:
    runs, store = finished
    model = lingula.load(runs)
    assert model.name == "clip"
    image = np.array(Store.open(store).pixels(3))
    prompts = ["pleural effusion", "no pleural effusion", "cardiomegaly"]
    matches = model.predict(image, prompts)
    assert sum(match.probability for match in matches) == pytest.approx(1)
    assert [m.similarity for m in matches] == sorted((m.similarity for m in matches), reverse=True)
    by_hand = model.encode_text(prompts) @ model.encode_image([image])[0]
    assert {m.prompt: m.similarity for m in matches} == pytest.approx(dict(zip(prompts, by_hand.tolist(), strict=True)))
    wide = np.pad(image, ((0, 0), (10, 30)))
    heat = model.heatmap(wide, "pleural effusion")
    assert heat.shape == wide.shape
    assert np.abs(heat).max() <= 1 + 1e-5


def test_embeddings_of_a_batch_are_those_of_each_image(finished: tuple[Path, Path]) -> None:
    model, store = lingula.load(finished[0] / "m-flag"), Store.open(finished[1])
    images = [np.array(store.pixels(row)) for row in range(5)]
    together = model.encode_image(images)
    alone = np.concatenate([model.encode_image([image]) for image in images])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_fine_tuning_takes_a_copy_of_the_image_tower(finished: tuple[Path, Path]) -> None:
    model = lingula.load(finished[0])
    image = np.array(Store.open(finished[1]).pixels(0))
    before, given = model.encode_image([image]), model.trainable()
    features = given.network(given.transform.evaluate([image])).detach().numpy()
    np.testing.assert_allclose(features, model.embed_pixels([image])[0], atol=1e-5)
    assert features.shape == (1, given.dimension)
    for parameter in given.network.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(model.encode_image([image]), before)


def test_embed_writes_one_row_per_image(finished: tuple[Path, Path], tmp_path: Path) -> None:
    runs, store = finished
    main(["embed", str(runs), "--store", str(store), "--out", str(tmp_path / "e.parquet"), "--split", "test"])
    table = pq.read_table(tmp_path / "e.parquet")
    opened = Store.open(store)
    rows = opened.rows(split="test")
    assert table.num_rows == len(rows) == 60
    row = int(rows[7])
    text = lingula.load(runs).encode_text([opened.text(row)])[0]
    np.testing.assert_allclose(table["text_latent"][7].as_py(), text, atol=1e-4)
    assert table["study_id"][7].as_py() == opened.column("study_id")[row]


def test_wrong_use_is_one_clear_error(finished: tuple[Path, Path], tmp_path: Path) -> None:
    runs, store = finished
    with pytest.raises(UserError, match="no text tower"):
        lingula.load(runs / "supervised").encode_text(["pleural effusion"])
    (tmp_path / "notes.png").write_text("not an image")
    with pytest.raises(UserError, match="cannot read"):
        lingula.load(runs).predict(tmp_path / "notes.png", ["effusion"])
    with pytest.raises(UserError, match="earlier demo"):
        demo.run_demo(runs, store)
    with pytest.raises(SystemExit) as left:
        main(["pretrain", "clip", "--store", str(store), "--run", str(runs / "clip")])
    assert left.value.code == 2


@pytest.mark.soak
def test_the_demo_reaches_its_bar(tmp_path: Path) -> None:
    demo.run_demo(tmp_path / "runs", tmp_path / "store")

    def result(run: str, task: str) -> TaskResult:
        return TaskResult.load(tmp_path / "runs" / run / "evaluation" / task)

    zero_shot, ceiling = (
        result(*which).find("AUROC", "macro") for which in (("clip", "zero-shot"), ("supervised", "supervised"))
    )
    assert zero_shot is not None
    assert ceiling is not None
    assert zero_shot.value >= max(0.80, 0.85 * ceiling.value)
    assert result("clip", "retrieve").protocol["gallery"] == 1000
    for direction in ("text to image", "image to text"):
        recall = result("clip", "retrieve").find("recall@1", setting=direction)
        assert recall is not None
        assert recall.value >= 20 * recall.chance
