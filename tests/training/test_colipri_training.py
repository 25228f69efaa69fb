"""COLIPRI from a store of CT volumes to a run: what its batches hold, exact resume, mixed streams, what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ct_runs import make_ct_store, small_recipe

from lingula.cli import main
from lingula.cli.pretrain import parse
from lingula.core.batch import Batch
from lingula.core.distributed import World
from lingula.core.errors import UserError
from lingula.data.loader import TrainingLoader
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig
from lingula.data.text.opposite_slots import StatementBank
from lingula.data.text.statement_files import write_statements
from lingula.data.text.statements import PartStatements, report_statements
from lingula.data.volume_crop import VolumeCrop
from lingula.data.volume_store import VolumeStore
from lingula.models.text_encoder import TextEncoder, load_text_encoder
from lingula.models.volume_config import SIZES
from lingula.training.assembly import choose_samples, sample_transform, training_loader, validation_batches
from lingula.training.config import PretrainConfig
from lingula.training.language import find_text_encoder
from lingula.training.plan import describe_plan
from lingula.training.pretrain import pretrain, text_plan
from lingula.training.recipes import recipe
from lingula.training.report_side import CutReports
from lingula.training.run import Run
from lingula.training.stores import images_only_store, training_store

TERMS = {"contrastive", "opposite", "report", "masked"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ct_store(tmp_path_factory.mktemp("paired") / "store")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ct_store(tmp_path_factory.mktemp("alone") / "store", train=8, val=2, seed=1)


@pytest.fixture(scope="module")
def encoder(store: Path) -> TextEncoder:
    config = small_recipe(store)
    opened = VolumeStore.open(store)
    return find_text_encoder(config, opened, choose_samples(config, opened).train)


@pytest.fixture
def make_loader(encoder: TextEncoder, tmp_path: Path) -> Callable[..., TrainingLoader]:
    def make(config: PretrainConfig) -> TrainingLoader:
        opened = training_store(config)
        samples, world = choose_samples(config, opened), World()
        plan = text_plan(config, opened, samples, encoder, tmp_path, torch.device("cpu"), world)
        return training_loader(config, opened, samples, plan, world, False, images_only_store(config, opened))

    return make


def same(one: Batch, two: Batch) -> bool:
    tensors = [("images",), ("tokens", "ids"), ("report", "ids"), ("opposites", "ids"), ("opposite_labels",), ("groups",)]
    pairs = []
    for path in tensors:
        values: list[Any] = [one, two]
        for name in path:
            values = [getattr(value, name, None) for value in values]
        pairs.append(values)
    alike = all(a is b is None or torch.equal(a, b) for a, b in pairs)
    return alike and (one.study_ids, one.texts, one.keys) == (two.study_ids, two.texts, two.keys)


def test_a_batch_holds_what_the_method_reads(store: Path, make_loader: Any, encoder: TextEncoder) -> None:
    config = small_recipe(store)
    batch = make_loader(config).batch(0).batch
    opened = VolumeStore.open(store)
    row_of = {study: row for row, study in enumerate(opened.column("study_id"))}
    assert batch.images.shape == (6, 1, 16, 16, 16)
    assert len(set(batch.keys)) == 6
    assert batch.report.ids.shape[1] <= 20
    reports = [opened.text(row_of[study]) for study in batch.study_ids]
    for row, text in enumerate(reports):
        whole = encoder.token_ids([text])[0]
        assert batch.report.ids[row][batch.report.mask[row]].tolist() == whole[:20]
    assert batch.opposites.ids.shape[:3] == (6, 3, 2)
    assert batch.opposite_labels.shape == (6, 3)
    own = report_statements(dict(opened.column("sections")[row_of[batch.study_ids[0]]]))
    positive = {text for part in own.values() for text in part.positive}
    true = [slot for slot in range(3) if batch.opposite_labels[0, slot] == 1]
    ids = {tuple(each) for each in encoder.token_ids(sorted(positive))}
    for slot in true:
        assert tuple(batch.opposites.ids[0, slot, 0][batch.opposites.mask[0, slot, 0]].tolist()) in ids


def test_texts_are_varied_from_epoch_to_epoch_and_only_as_configured(store: Path, make_loader: Any) -> None:
    loader = make_loader(small_recipe(store))
    steps = loader.order.steps_per_epoch
    texts: dict[str, set[str]] = {}
    for step in range(3 * steps):
        batch = loader.batch(step).batch
        for study, text in zip(batch.study_ids, batch.texts, strict=True):
            texts.setdefault(study, set()).add(text)
    assert max(map(len, texts.values())) > 1
    never = {"short_sentence": 0, "section_shuffle": 0, "sentence_shuffle": 0}
    loader = make_loader(small_recipe(store, data={"report_augment": never}))
    one, two = (loader.build(np.arange(6), epoch) for epoch in (0, 1))
    assert one.texts == two.texts
    assert not torch.equal(one.images, two.images)


def test_of_the_reconstructions_of_a_study_one_meets_its_report_in_each_epoch(
    store: Path, make_loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two neighbouring volumes are made one study: batches hold each study once, and in time both of its volumes."""
    column = VolumeStore.column
    monkeypatch.setattr(
        VolumeStore,
        "column",
        lambda self, name: [f"s{row // 2}" for row in range(len(self))] if name == "study_id" else column(self, name),
    )
    loader = make_loader(small_recipe(store, "cm", method={"opposite_weight": 0}))
    assert loader.order.steps_per_epoch == 1, "seven studies make one batch of six"
    seen = set()
    for step in range(30):
        rows = loader.order.rows(step).tolist()
        assert len({row // 2 for row in rows}) == len(loader.batch(step).batch.study_ids) == 6
        seen |= set(rows)
    assert seen == set(VolumeStore.open(store).rows("train").tolist())
    every = make_loader(small_recipe(store, "cm", method={"opposite_weight": 0}, data={"pairing": "all"}))
    assert every.order.steps_per_epoch == 2


def test_validation_on_whole_volumes_is_refused_where_they_make_no_batch(store: Path) -> None:
    with pytest.raises(UserError, match=r"--crop\.evaluation whole: the validation volumes of .* have . shapes") as caught:
        training_store(small_recipe(store, crop={"evaluation": "whole"}))
    assert "--volumes whole" in str(caught.value.remedy)


def test_whole_volumes_that_padding_makes_alike_are_validated_on(store: Path) -> None:
    stored = VolumeStore.open(store)
    shapes = {stored.shape(int(row)) for row in stored.rows("val")}
    side = max(map(max, shapes))
    config = small_recipe(store, crop={"evaluation": "whole", "size": side}, method={"encoder": {"patch_size": side}})
    assert len(shapes) > 1
    assert len(training_store(config)) == len(stored)


def test_whole_volumes_are_padded_to_the_patches_of_the_encoder(store: Path) -> None:
    config = small_recipe(store, crop={"evaluation": "whole"}, method={"encoder": {"patch_size": (4, 6, 8)}})
    transform = sample_transform(config)
    assert isinstance(transform, VolumeCrop)
    shape = transform.evaluate(VolumeStore.open(store), [0]).shape[2:]
    assert all(side % 24 == 0 for side in shape)


def test_reports_are_cut_to_the_decoder_and_padded_to_the_longest(encoder: TextEncoder) -> None:
    texts = ["No effusion.", "There is a large effusion on the left side, and the heart is enlarged."]
    whole = encoder.token_ids(texts)
    most = len(whole[0]) + 2
    write = CutReports(encoder, most)
    with pytest.warns(UserWarning, match=rf"longer than the {most} tokens .* \(1 of 2 in the first batch .*max-tokens"):
        tokens = write(texts)
    assert tokens.ids.shape == (2, most)
    assert [row[mask].tolist() for row, mask in zip(tokens.ids, tokens.mask, strict=True)] == [ids[:most] for ids in whole]
    padding = encoder.pads_to_max
    encoder.pads_to_max = True
    try:
        assert torch.equal(CutReports(encoder, most)(texts[:1]).ids, torch.tensor([whole[0]])), "not to the encoder's longest"
    finally:
        encoder.pads_to_max = padding


def test_studies_that_a_file_of_statements_does_not_name_get_no_opposite_sentences(
    store: Path, make_loader: Any, tmp_path: Path
) -> None:
    """Not to be told that they have no finding: their slots stay empty."""
    studies = VolumeStore.open(store).column("study_id")
    named = {studies[row]: {"heart": PartStatements(positive=(f"Finding {row}.",))} for row in range(0, 14, 2)}
    write_statements(tmp_path / "some.jsonl", named)
    with pytest.warns(UserWarning, match=r"13 of 20 studies are not in .*no opposite sentences"):
        loader = make_loader(small_recipe(store, data={"statements": tmp_path / "some.jsonl"}))
    batch = loader.batch(0).batch
    for study, labels in zip(batch.study_ids, batch.opposite_labels, strict=True):
        assert (labels == -1).all() == (study not in named)


def test_false_sentences_come_from_training_studies_alone(store: Path, make_loader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = StatementBank.__init__

    def noting(self: StatementBank, studies: Any) -> None:
        listed = list(studies)
        seen.extend(patient for patient, _ in listed)
        original(self, listed)

    monkeypatch.setattr(StatementBank, "__init__", noting)
    make_loader(small_recipe(store))
    opened = VolumeStore.open(store)
    patients, splits = opened.column("patient_id"), opened.column("split")
    assert len(seen) == 14
    assert set(seen) == {patient for patient, split in zip(patients, splits, strict=True) if split == "train"}


def test_statements_made_elsewhere_take_the_place_of_rules(store: Path, make_loader: Any, tmp_path: Path) -> None:
    studies = VolumeStore.open(store).column("study_id")
    said = {study: {"lungs": PartStatements(positive=("A stone.",))} for study in studies}
    write_statements(tmp_path / "made.jsonl", said)
    always = {"short_sentence": 1.0}
    loader = make_loader(small_recipe(store, data={"statements": tmp_path / "made.jsonl", "report_augment": always}))
    assert set(loader.batch(0).batch.texts) == {"A stone."}
    write_statements(tmp_path / "others.jsonl", {"nobody": said[studies[0]]})
    with pytest.raises(UserError, match="names none of the 20 studies"):
        make_loader(small_recipe(store, data={"statements": tmp_path / "others.jsonl"}))


@pytest.mark.parametrize("workers", [0, 1])
def test_streams_are_mixed_in_the_stated_proportion_with_any_number_of_workers(
    store: Path, other: Path, make_loader: Any, workers: int
) -> None:
    pairs = make_loader(small_recipe(store))
    mixed = make_loader(small_recipe(store, data={"images_only": other, "images_only_share": 0.25}, runtime={"workers": workers}))
    found = list(mixed.batches(2, 8))
    assert [item.step for item in found] == list(range(2, 8))
    assert [item.batch.texts is None for item in found] == [False, True, False, False, False, True]
    training = {VolumeStore.open(other).column("study_id")[row] for row in VolumeStore.open(other).rows("train")}
    for item in found:
        if item.batch.texts is None:
            assert item.batch.tokens is item.batch.report is item.batch.opposites is item.batch.opposite_labels is None
            assert item.batch.groups is None
            assert set(item.study_ids) <= training
            assert len(item.batch) == 6
    for item, step in zip([item for item in found if item.batch.texts is not None], range(2, 6), strict=True):
        assert same(item.batch, pairs.batch(step).batch), "pairs come as if there were no other stream"


def test_an_image_only_step_trains_the_encoder_and_the_decoder_of_patches_alone(store: Path, other: Path, tmp_path: Path) -> None:
    run = Run(pretrain(small_recipe(store, data={"images_only": other}), tmp_path / "run"))
    logged = [set(entry) & {f"loss/{term}" for term in TERMS} for entry in run.metrics() if "loss" in entry]
    assert logged == [{f"loss/{term}" for term in TERMS}, {"loss/masked"}] * 2
    assert run.environment["store"]["images_only"] == VolumeStore.open(other).fingerprint
    validated = [entry for entry in run.metrics() if "validation/loss" in entry]
    assert all(f"validation/loss/{term}" in validated[0] for term in TERMS)


@pytest.mark.parametrize("form", ["crm", "mixed", "cr"])
def test_the_second_half_is_that_of_the_whole_run(store: Path, other: Path, tmp_path: Path, form: str) -> None:
    data = {"images_only": other, "images_only_share": 0.4} if form == "mixed" else {}
    config = small_recipe(store, "cr" if form == "cr" else "crm", data=data)
    run = Run(pretrain(config, tmp_path / "run"))
    whole, best = run.fingerprint("last"), run.checkpoints.best()
    for step in (3, 4):
        shutil.rmtree(run.checkpoints.path(step), ignore_errors=True)
    middle = run.fingerprint("last")
    again = config.model_copy(update={"runtime": config.runtime.model_copy(update={"workers": int(form == "mixed")})})
    pretrain(again, tmp_path / "run", resume=True)
    assert run.fingerprint("last") == whole != middle
    assert run.checkpoints.best() == best


def test_validation_sees_validation_pairs_alone_and_always_the_same(
    store: Path, other: Path, encoder: TextEncoder, tmp_path: Path
) -> None:
    config = small_recipe(store, data={"images_only": other})
    opened = VolumeStore.open(store)
    samples = choose_samples(config, opened)
    plan = text_plan(config, opened, samples, encoder, tmp_path, torch.device("cpu"), World())
    made = validation_batches(config, opened, samples, plan)
    one, two = ([make() for make in made] for _ in range(2))
    splits = dict(zip(opened.column("study_id"), opened.column("split"), strict=True))
    assert {splits[study] for batch in one for study in batch.study_ids} == {"val"}
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_a_plan_counts_the_steps_of_both_streams(store: Path, other: Path) -> None:
    config = small_recipe(store, data={"images_only": other}, optimisation={"steps": None, "epochs": 3})
    plan = describe_plan(config)
    assert (plan.steps, plan.epochs) == (12, 3)
    assert plan.shapes["images"] == (6, 1, 16, 16, 16)
    assert plan.operations > 0


def test_the_published_size_is_planned_without_computing_a_step(store: Path) -> None:
    """One forward pass of 160³ voxels is 5.8 · 10¹² operations: a training step's would take a laptop minutes, and its memory.

    On the way back attention makes its scores once more: half of its own forward operations.
    """
    encoder = SIZES["M"]
    method = {"encoder": encoder.model_dump(), "masked_weight": 0.0, "report_weight": 0.0}
    plan = describe_plan(small_recipe(store, method=method, crop={"size": 160}))
    scores = encoder.depth * 2 * (160 // 8) ** 6 * encoder.embed_dim
    assert plan.operations == pytest.approx(3 * encoder.forward_flops((160,) * 3) + scores, rel=1e-3)
    assert plan.parameters.total > 144e6


@pytest.mark.parametrize(
    ("preset", "parts", "message"),
    [
        ("cr", {"data": {"images_only": "OTHER"}}, "masked-image modelling, which this training has not.*--preset cm or crm"),
        ("crm", {"data": {"images_only": "COARSE"}}, "stored with spacing .*Prepare them with the same --spacing"),
        (
            "crm",
            {"data": {"images_only": "OTHER"}, "optimisation": {"batch_size": 12}},
            "needs 12 volumes without text; .* has 8",
        ),
        (
            "crm",
            {"crop": {"size": 20}},
            "patches of 8x8x8. Give --crop.size of 16x16x16 or 24x24x24 voxels, or another --method.encoder.patch-size",
        ),
        ("crm", {"text_encoder": {"frozen": True}}, "trains its text encoder, .*--text-encoder.no-frozen"),
        ("crm", {"data": {"statements": Path("absent.jsonl")}}, "cannot read absent.jsonl"),
    ],
)
def test_what_does_not_fit_is_refused(
    store: Path, other: Path, tmp_path: Path, preset: str, parts: dict[str, Any], message: str
) -> None:
    if "images_only" in parts.get("data", {}):
        coarse = parts["data"]["images_only"] == "COARSE"
        place = make_ct_store(tmp_path / "coarse", 2, 1, spacing=11.0) if coarse else other
        parts = parts | {"data": {"images_only": place}}
    with pytest.raises(UserError) as caught:
        pretrain(small_recipe(store, preset, **parts), tmp_path / "run")
    assert re.search(message, str(caught.value).replace("\n", " "))
    assert not (tmp_path / "run").exists()


def test_another_store_of_images_alone_is_another_training(store: Path, other: Path, tmp_path: Path) -> None:
    config = small_recipe(store, data={"images_only": other}, optimisation={"steps": 2})
    pretrain(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"is not the one of images alone.*same --images-only"):
        pretrain(
            config.model_copy(update={"data": config.data.model_copy(update={"images_only": store})}),
            tmp_path / "run",
            resume=True,
        )


def test_each_method_refuses_the_other_kind_of_store_in_one_line(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for method in ("clip", "m-flag", "g2d", "supervised"):
        with pytest.raises(SystemExit) as left:
            main(["pretrain", method, "--store", str(store), "--run", str(tmp_path / "run")])
        assert left.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert "holds CT volumes; this needs radiographs" in error
        assert error.count("\n") == 1


def test_colipri_refuses_radiographs_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepare(PhantomSource(3, 1, 1, size=32), tmp_path / "store", PrepareConfig(size=32), workers=1)
    with pytest.raises(SystemExit) as left:
        main(["pretrain", "colipri", "--preset", "tiny", "--store", str(tmp_path / "store"), "--run", str(tmp_path / "run")])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert re.search(r"error: .*store holds radiographs; this needs CT volumes", error), error
    assert not (tmp_path / "run").exists()


def test_short_options_and_the_preset_where_none_is_named() -> None:
    config = parse(["colipri", "--store", "a", "--images-only", "b", "--method.size", "small"]).complete_config()
    assert (config.data.store, config.data.images_only) == (Path("a"), Path("b"))
    assert config.method.report_weight == config.method.masked_weight == 1
    assert config.method.volume_encoder.embed_dim == 396
    assert (config.data.text_view, config.data.pairing) == ("varied", "one-per-epoch")
    assert parse(["colipri", "--preset", "c"]).config.method.masked_weight == 0
    assert parse(["clip"]).config == recipe("clip", "sound")


def test_what_is_for_ct_alone_is_refused_for_radiographs(store: Path) -> None:
    for data, message in (
        ({"text_view": "varied"}, "is for CT"),
        ({"images_only": store}, "learns nothing from images without text"),
        ({"statements": store}, "reads no short statements"),
    ):
        with pytest.raises(UserError, match=message):
            training_store(recipe("clip", overrides={"data": data}))


def test_the_saved_text_encoder_is_that_of_the_training(store: Path, tmp_path: Path) -> None:
    run = Run(pretrain(small_recipe(store, "c", optimisation={"steps": 2}), tmp_path / "run"))
    method = run.load_method("last")
    assert not method.training
    assert load_text_encoder(run.path / "language_model").tokeniser.get_vocab() == method.text_encoder.tokeniser.get_vocab()
    assert run.storing.spacing == 12.0
    assert run.storing.orientation == "RAS"
