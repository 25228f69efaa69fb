"""Every method goes on exactly: what it keeps beside its parameters is in the checkpoint, too. Volumes: test_colipri_training."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import pytest

from lingula.methods.m_flag_config import MFlagConfig
from lingula.methods.registry import CONFIGS, reads_volumes
from lingula.training.pretrain import pretrain
from lingula.training.run import Run

SPECIFICATION = importlib.util.spec_from_file_location("pretraining", Path(__file__).with_name("test_pretrain.py"))
pretraining: Any = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(pretraining)
TRAINED_TEXT = {"frozen": False, "small": {"vocabulary": 80, "width": 16, "layers": 1, "word_steps": 3, "steps": 3, "heads": 2}}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    **{method: (method, {}) for method, config in CONFIGS.items() if not reads_volumes(config())},
    "whitened texts": ("m-flag", {}),
    "trained language model": ("m-flag", {"text_encoder": TRAINED_TEXT}),
    "in parts": ("clip", {"text_encoder": TRAINED_TEXT, "optimisation": {"micro_batch_size": 4}}),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretraining.make_store(tmp_path_factory.mktemp("source"), 40, 30)


@pytest.mark.parametrize("form", FORMS)
def test_the_second_half_is_that_of_the_whole_run(store: Path, tmp_path: Path, form: str) -> None:
    method, parts = FORMS[form]
    config = pretraining.recipe_for(store, method, **parts)
    if form == "whitened texts":
        config = config.model_copy(update={"method": MFlagConfig(text_head="whitening", image_head="batch-norm-linear")})
    run = Run(pretrain(config, tmp_path / "run"))
    whole, best = run.fingerprint("last"), run.checkpoints.best()
    for step in (3, 4):
        shutil.rmtree(run.checkpoints.path(step), ignore_errors=True)
    assert run.checkpoints.steps()[-1] == 2
    middle = run.fingerprint("last")
    pretrain(config, tmp_path / "run", resume=True)
    assert run.fingerprint("last") == whole != middle
    assert run.checkpoints.best() == best
