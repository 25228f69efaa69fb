from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lingula.core import precision
from lingula.core.errors import UserError
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.sources.csv_config import CsvConfig
from lingula.data.sources.csv_table import CsvSource
from lingula.data.store import Store
from lingula.training.config import PretrainConfig
from lingula.training.environment import git_commit
from lingula.training.language import find_text_encoder
from lingula.training.plan import Speed, describe_plan
from lingula.training.pretrain import pretrain
from lingula.training.recipes import recipe
from lingula.training.run import Run


def make_store(folder: Path, studies: int, with_text: int) -> Path:
    """Write studies, the first of them with text; the last quarter is for validation."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,patient_id,text,labels,split"]
    generator = np.random.default_rng(0)
    for number in range(studies):
        Image.fromarray(generator.integers(0, 256, (32, 32), dtype=np.uint8)).save(folder / f"images/{number}.png")
        text = f"Report {number}. No effusion. Heart of size {number % 5}." if number < with_text else ""
        split = "val" if number % 4 == 3 else "train"
        lines.append(f"images/{number}.png,p{number},{text},{('Effusion', 'Nodule')[number % 2]},{split}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    source = CsvSource(folder / "table.csv", folder, CsvConfig())
    prepare(source, folder / "store", PrepareConfig(size=32), workers=1)
    return folder / "store"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("source"), 40, 30)


@pytest.fixture
def config(store: Path) -> PretrainConfig:
    return recipe_for(store)


def recipe_for(store: Path, method: str = "clip", **parts: dict[str, Any]) -> PretrainConfig:
    values: dict[str, dict[str, Any]] = {
        "data": {"store": store, "image_size": 32},
        "image_encoder": {"name": "mobilenetv4_conv_small_050"},
        "text_encoder": {"small": {"vocabulary": 80, "width": 16, "layers": 1, "word_steps": 3, "steps": 3, "heads": 2}},
        "optimisation": {"steps": 4, "batch_size": 8},
        "runtime": {"log_every": 1, "validate_every": 2, "checkpoint_every": 2, "device": "cpu", "precision": "fp32"},
    }
    return recipe(method, overrides={name: values.get(name, {}) | parts.get(name, {}) for name in values.keys() | parts.keys()})


def weights_of(run: Path) -> str:
    return Run(run).fingerprint("last")


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(recipe_for(store), tmp_path_factory.mktemp("runs") / "run")


def test_a_run_is_complete_and_self_contained(finished: Path, store: Path, tmp_path: Path) -> None:
    run = Run(shutil.copytree(finished, tmp_path / "moved"))
    assert run.config == recipe_for(store)
    assert run.environment["samples"]["summary"] == "30 of 40 images have text; 23 training pairs"
    assert run.environment["parameters"]["trainable"] < run.environment["parameters"]["total"]
    assert run.environment["starting_weights"] == {"image_encoder": "none", "text_encoder": "small", "init_from": None}
    assert [entry["step"] for entry in run.metrics() if "loss" in entry] == [1, 2, 3, 4]
    assert [entry["step"] for entry in run.metrics() if "validation/loss" in entry] == [2, 4]
    assert run.checkpoints.steps()[0] == 0
    assert run.checkpoints.best() is not None
    encoder = run.text_encoder()
    assert encoder is not None
    assert encoder.fingerprint() == run.environment["text_fingerprint"]
    method = run.load_method("last")
    assert not method.training
    with torch.no_grad():
        latents = method.encode_image(torch.zeros(2, 1, 32, 32))
        texts = method.encode_text(encoder(encoder.tokenise(["No effusion."])))
    assert latents.shape[1] == texts.shape[1]
    initial, last = run.load_method("initial").state_dict(), method.state_dict()
    assert any(not torch.equal(initial[name], last[name]) for name in last)


def test_an_existing_run_is_never_touched_unless_asked(finished: Path, config: PretrainConfig, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    before = weights_of(run)
    with pytest.raises(UserError, match=r"exists already\. .*--resume.*--overwrite"):
        pretrain(config, run)
    assert weights_of(run) == before
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    with pytest.raises(UserError, match="exists and is not a run"):
        pretrain(config, tmp_path / "thesis", overwrite=True)
    bad = config.model_copy(update={"data": config.data.model_copy(update={"store": tmp_path / "nowhere"})})
    with pytest.raises(UserError, match="no such store"):
        pretrain(bad, run, overwrite=True)
    assert weights_of(run) == before
    changed = recipe_for(config.data.store, runtime={"seed": 1})
    pretrain(changed, run, overwrite=True)
    assert weights_of(run) != before


def test_resume_needs_the_same_configuration_and_gives_the_same_weights(finished: Path, store: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    expected = weights_of(run)
    for step in Run(run).checkpoints.steps():
        if step > 2:
            shutil.rmtree(Run(run).checkpoints.path(step))
    assert weights_of(run) != expected
    with pytest.raises(UserError, match=r"another optimisation\.batch_size \(4; the run has 8\)"):
        pretrain(recipe_for(store, optimisation={"batch_size": 4}), run, resume=True)
    with pytest.raises(UserError, match=rf"another .* --config {run}/config.yaml"):
        pretrain(recipe("clip"), run, resume=True)  # a command with --run and --resume alone: its store need not be there
    pretrain(recipe_for(store, runtime={"workers": 1, "keep": 3}), run, resume=True)
    assert weights_of(run) == expected
    with pytest.raises(UserError, match="no such run"):
        pretrain(recipe_for(store), tmp_path / "other", resume=True)


def test_starting_from_another_run(finished: Path, store: Path, tmp_path: Path) -> None:
    path = pretrain(recipe_for(store, optimisation={"steps": 1}), tmp_path / "run", init_from=finished)
    start, origin = Run(path).load_method("initial").state_dict(), Run(finished).load_method("best").state_dict()
    assert all(torch.equal(start[name], origin[name]) for name in origin)
    assert Run(path).environment["starting_weights"]["init_from"] == str(finished)


def test_weights_of_another_method_are_refused(finished: Path, store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not fit this model: .* missing .* unknown"):
        pretrain(recipe_for(store, "m-flag", optimisation={"steps": 1}), tmp_path / "run", init_from=finished)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_folder_is_a_start_too(finished: Path, store: Path, tmp_path: Path) -> None:
    origin = Run(finished).checkpoints.find("initial")
    path = pretrain(recipe_for(store, optimisation={"steps": 1}), tmp_path / "run", init_from=origin)
    assert Run(path).fingerprint("initial") == Run(finished).fingerprint("initial")


def test_going_on_and_beginning_cannot_be_mixed(finished: Path, store: Path) -> None:
    for options, named in (({"init_from": finished}, "--init-from"), ({"overwrite": True}, "--overwrite")):
        with pytest.raises(UserError, match=f"--resume and {named} exclude each other"):
            pretrain(recipe_for(store), finished, resume=True, **options)


def test_a_failure_before_the_first_step_leaves_a_run_that_can_be_started_again(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("lingula.training.pretrain.cache_texts", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe_for(store), tmp_path / "run")
    with pytest.raises(UserError, match=r"no checkpoint to go on from.* without --resume"):
        pretrain(recipe_for(store), tmp_path / "run", resume=True)
    with monkeypatch.context() as patch:
        patch.setattr("lingula.core.config.Config.to_yaml", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrain(recipe_for(store), tmp_path / "run")
    assert pretrain(recipe_for(store, optimisation={"steps": 1}), tmp_path / "run")
    assert Run(tmp_path / "run").checkpoints.steps() == [0, 1]


def test_text_is_needed_for_pairs_but_not_for_labels(tmp_path: Path) -> None:
    bare = make_store(tmp_path / "bare", 12, 0)
    with pytest.raises(UserError, match=r"no training pair of image and text \(0 of 12 images have text; 0 training pairs\)"):
        pretrain(recipe_for(bare), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    config = recipe_for(bare, "supervised", optimisation={"steps": 1})
    run = Run(pretrain(config, tmp_path / "run"))
    assert run.text_encoder() is None
    assert run.load_method().findings == ["Effusion", "Nodule"]
    with pytest.raises(UserError, match="a batch of 64 needs 64 labelled training images; the store has 9"):
        pretrain(recipe_for(bare, "supervised", optimisation={"batch_size": 64}), tmp_path / "more")


def test_a_batch_larger_than_the_number_of_pairs(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a batch of 128 needs 128 training pairs; the store has 23"):
        pretrain(recipe_for(store, optimisation={"batch_size": 128}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_trained_text_encoder_is_part_of_the_checkpoint(store: Path, tmp_path: Path) -> None:
    small = {"vocabulary": 80, "width": 16, "layers": 1, "steps": 3, "heads": 2}
    config = recipe_for(store, text_encoder={"frozen": False, "small": small}, optimisation={"steps": 2, "micro_batch_size": 4})
    run = Run(pretrain(config, tmp_path / "run"))
    before, after = run.saved_text_encoder(), run.text_encoder("last")
    assert before is not None
    assert after is not None
    assert before.fingerprint() != after.fingerprint()


def test_plan_matches_the_run_and_leaves_nothing_behind(finished: Path, config: PretrainConfig, store: Path) -> None:
    before = sorted(store.rglob("*"))
    plan = describe_plan(config)
    assert plan.shapes["images"] == (8, 1, 32, 32)
    assert (plan.steps, plan.epochs) == (4, 2.0)
    parameters = Run(finished).environment["parameters"]
    assert (plan.parameters.total, plan.parameters.trainable) == (parameters["total"], parameters["trainable"])
    assert 12 * plan.parameters.trainable < plan.memory < 1e9
    whole = describe_plan(recipe_for(store, optimisation={"batch_size": 16})).memory
    halves = describe_plan(recipe_for(store, optimisation={"batch_size": 16, "micro_batch_size": 8})).memory
    assert halves == plan.memory < whole
    assert "23 training pairs" in str(plan)
    assert "image encoder mobilenetv4_conv_small_050: none; text encoder: small" in str(plan)
    assert sorted(store.rglob("*")) == before


def test_a_text_encoder_that_is_trained_along_is_planned_so(store: Path) -> None:
    plan = describe_plan(recipe_for(store, text_encoder={"frozen": False}))
    frozen = describe_plan(recipe_for(store))
    assert plan.shapes.keys() == {"images", "tokens"}
    assert frozen.shapes.keys() == {"images", "texts"}
    assert plan.parameters.trainable == plan.parameters.total == frozen.parameters.total
    assert (plan.cache, frozen.cache > 0) == (0, True)


@pytest.mark.parametrize("frozen", [True, False])
def test_where_the_store_is_read_only_the_small_model_is_made_for_the_run(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frozen: bool
) -> None:
    config = recipe_for(shutil.copytree(store, tmp_path / "store"), text_encoder={"frozen": frozen})
    before = sorted((tmp_path / "store").rglob("*"))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    opened = Store.open(tmp_path / "store")
    assert find_text_encoder(config, opened, opened.rows("train")).frozen is frozen
    assert sorted((tmp_path / "store").rglob("*")) == before


def test_plan_tells_disk_and_hours_from_a_measured_speed(config: PretrainConfig, finished: Path) -> None:
    plan = describe_plan(config, speed=Speed(images_per_second=0.01))
    assert plan.images == 4 * 8
    assert [plan.hours(count) for count in (1, 4)] == pytest.approx([32 / 0.01 / 3600, 32 / 0.04 / 3600])
    folder = finished / "checkpoints" / "step-000004"
    written = sum(file.stat().st_size for file in folder.iterdir())
    assert written == pytest.approx(plan.checkpoint, rel=0.1)
    assert "hours       at least 0.9 on 1, 0.2 on 4, 0.1 on 8 GPUs" in str(plan)


def test_plan_estimates_hours_from_operations_where_no_speed_was_measured(config: PretrainConfig) -> None:
    estimate = describe_plan(config, speed=Speed(peak_tflops=1e-6, utilisation=0.5))
    assert estimate.hours(4) == pytest.approx(32 * estimate.operations / (0.5e6 * 4) / 3600)
    assert "not measured; estimate: " in str(estimate)
    assert "if each gives 1e-06 TFLOP/s at 50% utilisation" in str(estimate)
    assert "not measured" not in str(describe_plan(config, speed=Speed(images_per_second=1.0)))
    for wrong in ({"utilisation": 1.2}, {"utilisation": 0.0}, {"peak_tflops": -1.0}, {"images_per_second": 0.0}):
        with pytest.raises(UserError, match=next(iter(wrong)).replace("_", "-")):
            Speed(**wrong)


def test_plan_counts_the_operations_of_a_resnet50_as_its_paper_does() -> None:
    """4.09 · 10⁹ multiplications and additions at 224 pixels, of which the first layer's 0.118 need no gradient of the image."""
    settings = {"optimisation": {"batch_size": 2}, "runtime": {"precision": "fp32"}}
    plan = describe_plan(recipe("m-flag", "released", settings), pairs=2)
    assert plan.operations == pytest.approx((3 * 4.09 - 0.118) * 2e9, rel=0.01)
    assert "33,483,840 trainable, 0 frozen (and those of the frozen text encoder)" in str(plan)


def test_plan_without_a_store_counts_the_released_recipe() -> None:
    released = recipe("m-flag", "released", {"image_encoder": {"name": "test_resnet"}, "data": {"image_size": 32}})
    plan = describe_plan(released, pairs=5120)
    assert (plan.steps, plan.epochs, plan.images) == (510, 51.0, 510 * 512)
    assert plan.shapes == {"images": (512, 1, 32, 32), "texts": (512, 768)}
    assert plan.cache == 5120 * 768 * 4
    with pytest.raises(UserError, match="100 samples do not fill a batch of 512"):
        describe_plan(released, pairs=100)
    trained = recipe("clip", "sound", {"text_encoder": {"frozen": False}})
    with pytest.raises(UserError, match="Give --store instead of --pairs"):
        describe_plan(trained, pairs=5120)
    unknown = recipe("clip", "sound", {"text_encoder": {"name": "owner/model"}})
    with pytest.raises(UserError, match="the size of the text encoder owner/model is not known"):
        describe_plan(unknown, pairs=5120)


def test_plan_of_a_language_model_that_is_yet_to_be_trained(tmp_path: Path) -> None:
    store = make_store(tmp_path / "fresh", 40, 30)
    planned = describe_plan(recipe_for(store))
    assert not (store / "language_models").exists()
    run = Run(pretrain(recipe_for(store, optimisation={"steps": 1}), tmp_path / "run"))
    assert planned.parameters.total == pytest.approx(run.environment["parameters"]["total"], rel=0.02)


def test_folders_that_are_no_runs_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such run"):
        Run(tmp_path / "missing")
    with pytest.raises(UserError, match="is not a run"):
        Run(tmp_path)
    with pytest.raises(UserError, match="unknown checkpoint 'newest'"):
        Run(finished).load_method("newest")


def test_the_environment_names_versions_and_store(finished: Path, store: Path, tmp_path: Path) -> None:
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert environment["store"]["fingerprint"] == Store.open(store).fingerprint
    assert git_commit(tmp_path) is None


@pytest.mark.parametrize(("fast", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_precision_is_settled_by_the_device_and_kept_by_a_resumed_run(fast, expected, store, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "multiplies_fast_in_bf16", lambda device: fast)
    config = recipe_for(store, runtime={"precision": "auto"})
    run = pretrain(config, tmp_path / "run")
    assert Run(run).config.runtime.precision == expected
    monkeypatch.setattr(precision, "multiplies_fast_in_bf16", lambda device: not fast)
    pretrain(config, run, resume=True)
    assert Run(run).config.runtime.precision == expected


def test_auto_leaves_alone_what_is_asked_for():
    assert [precision.choose_precision(wanted, torch.device("cpu")) for wanted in ("bf16", "fp32")] == ["bf16", "fp32"]
