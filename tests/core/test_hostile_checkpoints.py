"""Checkpoints and weights as an accident or an attacker leaves them; rows of docs/reference/hostile-input.md."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from lingula.core.checkpoint import Checkpoints, convert_pickle, load_weights, read_metadata, save_weights
from lingula.core.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture
def module() -> nn.Module:
    return nn.Linear(3, 4)


class Bomb:
    """Touches a file when it is unpickled by a reader that runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_weights_cut_anywhere_are_refused(tmp_path: Path, module: nn.Module) -> None:
    save_weights(tmp_path / "w", module.state_dict(), {})
    content = (tmp_path / "w").read_bytes()
    before = module.weight.detach().clone()
    for length in (*range(0, len(content), 7), len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:length])
        with pytest.raises(UserError, match="is not a model file"):
            load_weights(tmp_path / "cut", module)
    assert torch.equal(module.weight, before)


def test_weights_of_a_newer_version_are_refused(tmp_path: Path, module: nn.Module) -> None:
    for number, metadata in enumerate([{"version": 2}, {"version": "x"}]):
        save_weights(tmp_path / str(number), module.state_dict(), metadata)
        with pytest.raises(UserError, match=r"written by a newer lingula .* Update lingula"):
            load_weights(tmp_path / str(number), module)


@pytest.mark.parametrize("text", ["", "{", "[1]", "7"])
def test_weights_with_broken_metadata_are_refused(tmp_path: Path, module: nn.Module, text: str) -> None:
    save_file(module.state_dict(), tmp_path / "w", {"lingula": text})
    with pytest.raises(UserError, match="is not a model file"):
        read_metadata(tmp_path / "w")


def test_a_header_that_claims_to_be_huge_is_refused(tmp_path: Path, module: nn.Module) -> None:
    (tmp_path / "w").write_bytes((2**60).to_bytes(8, "little") + b"{}" * 50)
    with pytest.raises(UserError, match="is not a model file"):
        load_weights(tmp_path / "w", module)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_neither_written_nor_read(tmp_path: Path, module: nn.Module, bad: float) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    poisoned = module.state_dict() | {"bias": torch.tensor([0.0, bad, 0.0, 0.0])}
    with pytest.raises(UserError, match=r"after step 3, weights\.bias is not finite"):
        checkpoints.save(3, poisoned, {}, {})
    with pytest.raises(UserError, match=r"after step 3, state\.m\.0 is not finite"):
        checkpoints.save(3, module.state_dict(), {"m": [torch.tensor([bad])]}, {})
    assert checkpoints.steps() == []
    save_weights(tmp_path / "w", poisoned, {})
    with pytest.raises(UserError, match=r"not finite \(first: bias\)"):
        load_weights(tmp_path / "w", module)


def test_a_broken_training_state_is_named(tmp_path: Path, module: nn.Module) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, module.state_dict(), {"optimiser": {"m": torch.ones(100)}}, {})
    file = tmp_path / "step-000003" / "training_state.pt"
    content = file.read_bytes()
    for broken in (b"", b"text", content[: len(content) // 2], content[:-1]):
        file.write_bytes(broken)
        with pytest.raises(UserError, match=r"training_state\.pt"):
            checkpoints.load_state(3, CPU)
    torch.save([1], file)
    with pytest.raises(UserError, match="is not a training state"):
        checkpoints.load_state(3, CPU)
    file.write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    with pytest.raises(UserError, match="more than tensors"):
        checkpoints.load_state(3, CPU)
    assert not (tmp_path / "exploded").exists()


def test_a_broken_summary_or_one_of_a_newer_version_is_named(tmp_path: Path, module: nn.Module) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, module.state_dict(), {}, {})
    summary = tmp_path / "step-000003" / "checkpoint.json"
    summary.write_text('{"version": 1, "st')
    with pytest.raises(UserError, match=r"checkpoint\.json is not JSON"):
        checkpoints.summary(3)
    summary.write_text(json.dumps({"version": 2, "step": 3}))
    with pytest.raises(UserError, match="newer lingula"):
        checkpoints.summary(3)


@pytest.mark.parametrize("nested", [None, "state_dict", "model_state_dict", "model"])
def test_a_pickle_of_tensors_is_converted(tmp_path: Path, module: nn.Module, nested: str | None) -> None:
    state = dict(module.state_dict())
    torch.save({nested: state, "epoch": 3} if nested else state, tmp_path / "w.pt")
    with pytest.raises(UserError, match="lingula convert"):
        load_weights(tmp_path / "w.pt", nn.Linear(3, 4))
    assert convert_pickle(tmp_path / "w.pt", tmp_path / "w.safetensors") == 2
    other = nn.Linear(3, 4)
    load_weights(tmp_path / "w.safetensors", other)
    assert torch.equal(other.weight, module.weight)
    with safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert set(file.keys()) == {"weight", "bias"}
    with pytest.raises(UserError, match="exists already"):
        convert_pickle(tmp_path / "w.pt", tmp_path / "w.safetensors")


def test_a_pickle_with_code_is_neither_run_nor_converted(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    torch.save({"w": torch.ones(1), "x": Bomb(tmp_path / "exploded")}, tmp_path / "b.pt")
    torch.save(nn.Linear(2, 2), tmp_path / "c.pt")
    (tmp_path / "d.pt").write_bytes(b"no pickle at all")
    for name in "abcd":
        with pytest.raises(UserError, match=r"holds more than tensors|cannot be read"):
            convert_pickle(tmp_path / f"{name}.pt", tmp_path / "out.safetensors")
    torch.save({"epoch": 3}, tmp_path / "e.pt")
    with pytest.raises(UserError, match="no state dict"):
        convert_pickle(tmp_path / "e.pt", tmp_path / "out.safetensors")
    with pytest.raises(UserError, match="no such file"):
        convert_pickle(tmp_path / "f.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "out.safetensors").exists()
