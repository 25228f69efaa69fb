"""The network stays untouched: an audit hook of a child process records every name it resolves and every connection."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lingula.core.offline import VARIABLES, forbidden_by
from lingula.data.phantom.source import PhantomSource
from lingula.data.prepare import prepare
from lingula.data.prepare_config import PrepareConfig

RECORDED = """
import json, sys
touched = []
def record(event, arguments):
    names = event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
    if names or (event == "socket.connect" and isinstance(arguments[1], tuple)):
        touched.append([event, str(arguments[1:])])
sys.addaudithook(record)
from lingula.cli import main
left = 0
try:
    for words in json.loads(sys.argv[1]):
        main(words)
except SystemExit as error:
    left = error.code
print(json.dumps([left, touched]))
"""
SMALL = """
image_encoder: {name: test_resnet}
data: {image_size: 32}
text_encoder: {small: {vocabulary: 300, width: 16, steps: 2}}
optimisation: {steps: 2, batch_size: 16}
"""


def run(*commands: list[str], **variables: str) -> tuple[int, list[list[str]], str]:
    """Run commands in a child process; return its exit code, the network events, and what it printed to standard error."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | variables
    script = [sys.executable, "-c", RECORDED, json.dumps(commands)]
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=200, check=True)
    left, touched = json.loads(done.stdout.splitlines()[-1])
    return left, touched, done.stderr


def test_the_whole_way_touches_no_network_even_where_it_may(tmp_path: Path) -> None:
    store, folder, config = (str(tmp_path / name) for name in ("store", "run", "small.yaml"))
    Path(config).write_text(SMALL)
    sizes = ["--train", "40", "--val", "16", "--test", "16", "--size", "32", "--workers", "1"]
    left, touched, said = run(
        ["data", "prepare", "phantom", "--store", store, *sizes],
        ["pretrain", "clip", "--store", store, "--run", folder, "--config", config],
        ["evaluate", folder, "--store", store, "--bootstrap", "0"],
        ["report", folder],
    )
    assert left == 0, said
    assert (Path(folder) / "report.html").is_file()
    assert touched == []


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("offline") / "store"
    prepare(PhantomSource(40, 8, 8, size=32), store, PrepareConfig(size=32), workers=1)
    return store


def pretrain_with_a_model_of_the_hub(store: Path, folder: Path) -> list[str]:
    small = ["--optimisation.batch-size", "8", "--data.image-size", "32"]
    return ["pretrain", "clip", "--store", str(store), "--run", str(folder), "--text-encoder.name", "nobody/nothing", *small]


@pytest.mark.parametrize("how", [["--offline"], []])
def test_a_model_of_the_hub_is_refused_without_asking_the_hub(phantom: Path, tmp_path: Path, how: list[str]) -> None:
    command = pretrain_with_a_model_of_the_hub(phantom, tmp_path / "run")
    variables = {} if how else {"LINGULA_OFFLINE": "1"}
    left, touched, said = run([*command, *how], HF_HOME=str(tmp_path / "hub"), **variables)
    assert (left, touched) == (2, [])
    assert "the model nobody/nothing is not in the local cache and LINGULA_OFFLINE forbids the hub" in said
    assert not (tmp_path / "run").exists()


def test_the_recorder_sees_what_the_hub_would_be_asked(phantom: Path, tmp_path: Path) -> None:
    command = pretrain_with_a_model_of_the_hub(phantom, tmp_path / "run")
    left, touched, _ = run(command, HF_ENDPOINT="http://127.0.0.1:9", HF_HOME=str(tmp_path / "hub"))
    assert left == 2
    assert touched


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("true", True), ("yes", True), ("0", False), ("", False), ("off", False)]
)
def test_the_variables_mean_what_they_say(value: str, offline: bool) -> None:
    for name in VARIABLES:
        assert (forbidden_by({name: value}) == name) == offline
    assert forbidden_by({}) is None


def test_the_suite_itself_runs_offline() -> None:
    assert forbidden_by() == VARIABLES[0]
