"""A run of CT volumes from the command line: segmentation, reports, their page, and the way to nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from ct_runs import make_ct_store, small_recipe

from lingula.cli import main
from lingula.core.errors import UserError
from lingula.data.volume_store import VolumeStore
from lingula.inference import VolumeModel, load_model
from lingula.training.pretrain import pretrain


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ct")
    make_ct_store(folder / "store", train=12, val=6, test=6)
    pretrain(small_recipe(folder / "store", optimisation={"steps": 2}), folder / "run")
    return folder


def test_tasks_and_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, common = str(place / "run"), ["--store", str(place / "store"), "--bootstrap", "10", "--fraction", "1.0"]
    segment = ["--segment.steps", "2", "--segment.every", "1", "--segment.volume.head", "light", "unet"]
    segment += ["--segment.volume.width", "4", "--segment.pictures", "1", "--label", "Cardiomegaly", "Lung Nodule"]
    generate = ["--generate.way", "greedy", "beam", "--generate.beams", "2", "--generate.pictures", "1"]
    main(["evaluate", run, "--task", "segment", "generate", *common, *segment, *generate])
    told = capsys.readouterr().out
    assert "Segmentation: phantom-ct, test (phantom numbers)" in told
    assert "Report generation: phantom-ct, test (phantom numbers)" in told
    numbers = json.loads((place / "run/evaluation/segment/result.json").read_text())
    assert {row["metric"] for row in numbers["rows"]} >= {"Dice", "NSD", "specificity"}
    assert numbers["protocol"]["findings"] == ["Cardiomegaly", "Lung Nodule"]
    reports = pq.read_table(place / "run/evaluation/generate/predictions.parquet").to_pylist()
    store = VolumeStore.open(place / "store")
    assert [line["true"] for line in reports[:6]] == [store.text(int(row)) for row in store.rows(split="test")]
    main(["report", run, "--out", str(place / "report.html")])
    page = (place / "report.html").read_text()
    for words in ("NSD tolerance, mm", "most frequent training report", "axial, coronal, sagittal"):
        assert words in page


def test_a_store_of_other_voxels_and_a_run_without_a_decoder_are_refused(place: Path, tmp_path: Path) -> None:
    make_ct_store(tmp_path / "finer", 2, 0, spacing=11.0)
    model = load_model(place / "run")
    assert isinstance(model, VolumeModel)
    for part in (model.volume_trainable, model.report_writer, model.hidden_filler):
        with pytest.raises(UserError, match=r"stored with spacing 11.0, the model was trained on 12.0"):
            part(VolumeStore.open(tmp_path / "finer"))
    assert model.report_writer(VolumeStore.open(place / "store")) is not None
    model.method.report_decoder = model.method.masked_decoder = None
    assert model.report_writer(VolumeStore.open(place / "store")) is None
    assert model.hidden_filler(VolumeStore.open(place / "store")) is None


def test_windows_see_a_volume_as_the_model_does(place: Path) -> None:
    store, model = VolumeStore.open(place / "store"), load_model(place / "run", seen="windows")
    assert isinstance(model, VolumeModel)
    writer = model.report_writer(store)
    assert writer is not None
    from lingula.evaluation.report_writing import see_volumes

    ((_, seen),) = see_volumes(writer, store, np.array([0]), 4, "looking")
    np.testing.assert_allclose(seen.pooled.numpy(), model.embed_rows(store, np.array([0]))[1], atol=1e-5)


def test_export_to_nnu_net(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["export", str(place / "run"), "--to", "nnunet"])
    assert "nnUNetv2_train_pretrained -tr PretrainedTrainer_Primusx" in capsys.readouterr().out
    content = torch.load(place / "run/nnunet.pth", weights_only=True)
    (configuration,) = content["nnssl_adaptation_plan"]["pretrain_plan"]["configurations"].values()
    assert configuration == {"spacing": [12.0, 12.0, 12.0], "patch_size": [16, 16, 16]}
