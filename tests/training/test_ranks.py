from __future__ import annotations

import fcntl
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

from lingula.core.distributed import World
from lingula.methods.registry import CONFIGS

SCRIPT = Path(__file__).with_name("ranks_script.py")
SPECIFICATION = importlib.util.spec_from_file_location("ranks_script", SCRIPT)
script: Any = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(script)
CASES = [" ".join(map(str, case)) for case in script.cases()]
pytestmark = pytest.mark.timeout(900)
NOT_EQUAL = {"shuffled-mask"}
"""The one choice that depends on the number of processes, as its description says: each takes masks of its own images."""
Results = list[dict[str, dict[str, torch.Tensor]]]


def start(folder: Path, rank: int, port: int, *words: str) -> subprocess.Popen[bytes]:
    variables = {"RANK": rank, "WORLD_SIZE": 2, "LOCAL_RANK": rank, "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    environment = os.environ | {name: str(value) for name, value in variables.items()} | {"MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), *words], env=environment)


def find_results(folder: Path, *words: str, seconds: float) -> None:
    """Write what one process finds (`alone.pt`, last of all), and what each of two finds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    processes = [start(folder, rank, port, *words) for rank in (0, 1)]
    alone = script.everything(World(), *words)
    if not words:
        (folder / "alone").mkdir(exist_ok=True)
        alone["ddp"] = script.trained(World(), folder / "alone", "ddp")
    assert [process.wait(timeout=seconds) for process in processes] == [0, 0]
    torch.save(alone, folder / "alone.partial")
    (folder / "alone.partial").rename(folder / "alone.pt")


def read_results(folder: Path) -> Results:
    """Map what `find_results` has written; gigabytes that no worker needs in its own memory."""
    return [torch.load(folder / f"{name}.pt", mmap=True) for name in ("alone", "rank-0", "rank-1")]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Found once, by whichever of the test runner's workers comes first: these tests are spread over them."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ranks"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "alone.pt").is_file():
            find_results(folder, seconds=800)
    return read_results(folder)


@pytest.mark.parametrize("method", CONFIGS)
def test_every_choice_of_every_method_is_among_the_cases(method: str) -> None:
    """A new method, or a new form of an objective or head, is compared too; each spread both ways, in parts and whole."""
    configs = [config for config in script.METHODS.values() if config.name == method]
    assert configs
    for name, field in CONFIGS[method].model_fields.items():
        if get_origin(field.annotation) is Literal:
            assert {getattr(config, name) for config in configs} == set(get_args(field.annotation)) - NOT_EQUAL, name
    spread = {(parallel, micro) for case, parallel, micro, _ in script.cases() if script.METHODS[case].name == method}
    assert {("ddp", None), ("ddp", 2), ("fsdp", None), ("fsdp", 2)} <= spread


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("case", [case for case in CASES if not case.endswith("local")])
def test_two_processes_equal_one(results: Results, case: str, rank: int) -> None:
    """Loss, every gradient, their norm, batch norm statistics, weights and moments after a step; encoders with batch norm."""
    assert_equal(results[0][case], results[1 + rank][case])


@pytest.mark.soak
@pytest.mark.timeout(3000)
def test_two_processes_in_shares_equal_one_for_every_method(tmp_path: Path) -> None:
    find_results(tmp_path, "more", seconds=2400)
    one, *two = read_results(tmp_path)
    assert len(one) >= 20
    for case, found in one.items():
        for rank in (0, 1):
            assert_equal(found, two[rank][case])


def assert_equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert one.keys() == two.keys()
    assert max(value.abs().max() for name, value in one.items() if name.startswith("gradient image_encoder")) > 1e-4
    for name, expected in one.items():
        after_the_step = name.startswith("weight") and not name.endswith(("running_mean", "running_var"))
        tolerance = 1e-7 if after_the_step else 1e-10
        torch.testing.assert_close(two[name], expected, rtol=0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


def test_local_batch_norms_are_another_training(results: Results) -> None:
    one, two = (results[number]["supervised ddp None local"]["gradient classifier.weight"] for number in (0, 1))
    assert (one - two).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["BatchNorm1d 0.1", "BatchNorm2d None", "BatchNorm1d 0.3"])
def test_batch_norm_of_uneven_shares_is_that_of_the_whole(results: Results, kind: str) -> None:
    """Outputs, gradients of inputs and parameters, running statistics: 5 and 2 rows on two processes, 7 on one."""
    one, first, second = (found["batch norm"] for found in results)
    for name in (name for name in one if name.startswith(kind)):
        if name.endswith(("gradient", "output", "evaluated")):
            together = torch.cat([first[name], second[name]])
        elif "sum of" in name:
            together = first[name] + second[name]
        else:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
            together = first[name]
        torch.testing.assert_close(together, one[name], rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_save_and_go_on_exactly(results: Results, parallel: str) -> None:
    """Six steps; and from the checkpoint of step 2 with other initial weights: equal bit for bit, and nearly to one process.

    AdamW blows up the rounding of the one gradient that is zero, of a bias in front of a batch norm, which has no effect.
    """
    no_effect = {"tower.0.bias", "tower.1.running_mean"}
    for found in (results[1][parallel], results[2][parallel]):
        for name, expected in found["straight"].items():
            assert torch.equal(found["resumed"][name], expected), name
            if name not in no_effect:
                torch.testing.assert_close(expected, results[0]["ddp"]["straight"][name], rtol=1e-3, atol=1e-3)
    assert results[1][parallel]["best"][0] == results[1][parallel]["best"][1]
    assert results[1][parallel]["best"][0] is not None


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_bad_image_of_one_process_is_named_by_all(results: Results, parallel: str) -> None:
    for found in (results[1][f"{parallel} poisoned"], results[2][f"{parallel} poisoned"]):
        assert f"features that are not finite come from: {found['guilty']}. Prepare the store anew" in found["said"]
        assert (found["done"], found["checkpoints"]) == (3, [0, 2])


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_signal_to_one_process_stops_all_after_the_same_step(results: Results, parallel: str) -> None:
    for rank in (1, 2):
        found, straight = results[rank][f"{parallel} signalled"], results[rank][parallel]["straight"]
        assert (found["stopped"], found["begun"]) == (3, 3)
        assert all(torch.equal(found["weights"][name], value) for name, value in straight.items())


def test_no_process_trains_on_the_data_of_another(results: Results) -> None:
    first, second = (results[rank]["ddp"]["studies"][:6] for rank in (1, 2))
    whole = results[0]["ddp"]["studies"][:6]
    assert [len(step) for step in first] == [len(step) for step in second] == [4] * 6
    for one, two, both in zip(first, second, whole, strict=True):
        assert not set(one) & set(two)
        assert set(one) | set(two) == set(both)
