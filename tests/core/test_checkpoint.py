from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lingula.core.checkpoint import Checkpoints, load_weights, read_metadata, save_weights
from lingula.core.errors import UserError


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_weights_come_back_with_metadata(tmp_path: Path, module: nn.Module) -> None:
    save_weights(tmp_path / "w.safetensors", module.state_dict(), {"step": 5, "name": "ä"})
    other = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    load_weights(tmp_path / "w.safetensors", other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in module.state_dict().items())
    assert read_metadata(tmp_path / "w.safetensors") == {"version": 1, "step": 5, "name": "ä"}


def test_weights_can_be_read_by_whom_other_new_files_can(tmp_path: Path, module: nn.Module) -> None:
    save_weights(tmp_path / "w.safetensors", module.state_dict(), {})
    (tmp_path / "usual").touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_equal_weights_give_equal_bytes(tmp_path: Path, module: nn.Module) -> None:
    """Channels-last kernels and repeated writes do not change the file."""
    kernels = {"k": torch.randn(4, 2, 3, 3)}
    files = []
    for number, tensors in enumerate([kernels, {"k": kernels["k"].contiguous(memory_format=torch.channels_last)}] * 3):
        save_weights(tmp_path / str(number), tensors, {"b": 1, "a": 2, "c": 3})
        files.append((tmp_path / str(number)).read_bytes())
    assert len(set(files)) == 1


def test_tied_weights_can_be_saved(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    save_weights(tmp_path / "w", module.state_dict(), {})
    load_weights(tmp_path / "w", module)


def test_pickles_are_refused_unread(tmp_path: Path, module: nn.Module) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Bomb()))
    torch.save(module.state_dict(), tmp_path / "b.pt")
    for name in ("a.pkl", "b.pt"):
        with pytest.raises(UserError, match="pickle"):
            load_weights(tmp_path / name, module)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_other_files_are_not_model_files(tmp_path: Path, module: nn.Module, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is not a model file"):
        load_weights(tmp_path / "x.safetensors", module)
    with pytest.raises(UserError, match="no such model file"):
        load_weights(tmp_path / "y.safetensors", module)


def test_foreign_and_cut_safetensors_are_refused(tmp_path: Path, module: nn.Module) -> None:
    save_file(module.state_dict(), tmp_path / "foreign")
    with pytest.raises(UserError, match="not written by lingula"):
        load_weights(tmp_path / "foreign", module)
    save_weights(tmp_path / "cut", module.state_dict(), {})
    content = (tmp_path / "cut").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-8])
    with pytest.raises(UserError, match="is not a model file"):
        load_weights(tmp_path / "cut", module)


def test_weights_of_another_shape_leave_the_module_alone(tmp_path: Path, module: nn.Module) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    tensors = dict(module.state_dict())
    save_weights(tmp_path / "shape", tensors | {"0.bias": torch.zeros(5)}, {})
    with pytest.raises(UserError, match=r"0\.bias is \(5,\) in the file, \(4,\) in the model"):
        load_weights(tmp_path / "shape", module)
    del tensors["1.bias"]
    save_weights(tmp_path / "names", tensors | {"extra": torch.zeros(1)}, {})
    with pytest.raises(UserError, match=r"1 missing \(first: 1\.bias\) and 1 unknown \(first: extra\)"):
        load_weights(tmp_path / "names", module)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(step, {"w": torch.tensor([float(step)])}, {"optimiser": {"lr": 0.1, "m": torch.ones(2)}}, {"seed": 1})


def test_checkpoints_keep_initial_best_and_latest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(UserError, match="no last checkpoint"):
        checkpoints.find("last")
    for step in (0, 10, 20, 30, 40):
        save(checkpoints, step)
    assert checkpoints.find("best") == checkpoints.path(40)
    checkpoints.mark_best(10, 0.5)
    checkpoints.prune(keep=2)
    assert checkpoints.steps() == [0, 10, 30, 40]
    assert checkpoints.find("best").name == "step-000010"
    assert checkpoints.find("last").name == "step-000040"
    assert checkpoints.find("initial").name == "step-000000"
    assert checkpoints.summary(30) == {"version": 1, "step": 30, "seed": 1}
    state = checkpoints.load_state(30, torch.device("cpu"))
    assert torch.equal(state["optimiser"]["m"], torch.ones(2))
    with pytest.raises(UserError, match="unknown checkpoint"):
        checkpoints.find("newest")


def test_a_write_that_fails_leaves_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    save(checkpoints, 0)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        checkpoints.save(1, {"w": torch.ones(1)}, {"bad": lambda: None}, {})
    assert checkpoints.steps() == [0]
    (tmp_path / "checkpoints" / ".step-000002.77.partial").mkdir()
    checkpoints.remove_leftovers()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000"]


def test_training_state_that_holds_code_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 3)
    torch.save({"path": Path("x")}, tmp_path / "step-000003" / "training_state.pt")
    with pytest.raises(UserError, match="more than tensors"):
        checkpoints.load_state(3, torch.device("cpu"))
