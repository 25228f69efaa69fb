"""Ours against the published package itself, in an environment of its own: `make compat` builds it, which needs a package index.

Where it cannot be built the tests fail and say so. Each prints how far apart both are, relative to the largest number.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_colipri import SIZES, outputs
from torch import Tensor

from lingula.data.volume_transform import VolumeTransform
from lingula.data.volume_transform_config import VolumeTransformConfig
from lingula.exchange import Colipri, ColipriConfig, load_colipri, save_colipri
from lingula.exchange.nnunet import save_nnunet
from lingula.models.volume_config import VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder

pytestmark = [pytest.mark.compat, pytest.mark.timeout(3600)]
HERE = Path(__file__).resolve().parent
VOLUMES = ("lidc_0314", "totalseg_aorta_ct", "pyradiomics_lung1")
QUIET = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter of tests/compat/.venv, made from its lock file where it is not there yet."""
    uv = shutil.which("uv") or HERE.parents[1] / ".uv/bin/uv"
    clean = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    try:
        made = subprocess.run([uv, "sync", "--frozen", "--project", HERE], env=clean, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.fail(f"PUBLISHED COLIPRI NOT TESTED: uv cannot be run ({error})", pytrace=False)
    if made.returncode:
        pytest.fail(f"PUBLISHED COLIPRI NOT TESTED: its environment is not there: {made.stderr.strip()[-300:]}", pytrace=False)
    return HERE / ".venv/bin/python"


@pytest.fixture(scope="session")
def folder(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    published(python, "dump", folder)
    return folder


@pytest.fixture(scope="session")
def model(folder: Path) -> Colipri:
    return load_colipri(folder / "theirs.safetensors", ColipriConfig.from_values(SIZES, "the small sizes"))


def published(python: Path, *arguments: str | Path) -> None:
    command = [python, HERE / "published.py", *arguments]
    done = subprocess.run(command, env=os.environ | QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal to 1e-5, relative to the length and to the largest number of each output."""
    assert found.keys() == expected.keys()
    for name, theirs in expected.items():
        assert found[name].shape == theirs.shape, name
        difference, scale = (found[name] - theirs).double(), theirs.double()
        print(f"{name}: {difference.abs().max() / scale.abs().max():.1e}")
        assert difference.norm() <= 1e-5 * scale.norm(), name
        assert difference.abs().max() <= 1e-5 * scale.abs().max(), name


def test_its_weights_give_its_numbers_here(folder: Path, model: Colipri) -> None:
    inputs, expected = (load_file(folder / name) for name in ("inputs.safetensors", "theirs_outputs.safetensors"))
    assert_equal(outputs(model, **inputs), expected)
    assert_equal(outputs(load_colipri(folder / "theirs.pth", model.config), **inputs), expected)


def test_our_weights_give_our_numbers_there(python: Path, folder: Path, model: Colipri) -> None:
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(1.1)  # so that their own file, read by mistake, would be seen
    save_colipri(other, folder / "ours.safetensors")
    expected = outputs(other, **load_file(folder / "inputs.safetensors"))
    published(python, "read", folder)
    for name in ("read_outputs.safetensors", "loaded_outputs.safetensors"):
        assert_equal(load_file(folder / name), expected)


def test_its_backbone_with_registers_and_dropped_patches(python: Path, folder: Path, model: Colipri) -> None:
    published(python, "backbone", folder)
    theirs, image = load_file(folder / "backbone.safetensors"), load_file(folder / "inputs.safetensors")["image"]
    config = model.config.image_encoder.encoder().model_copy(update={"register_tokens": 2})
    encoder = VolumeEncoder(config).eval()
    weights = {name.removeprefix("weights."): value for name, value in theirs.items() if name.startswith("weights.")}
    encoder.load_state_dict(weights)
    kept = theirs["kept"]
    with torch.no_grad():
        grid = torch.zeros(2, 72, 24).scatter(2, kept[:, None].expand(-1, 72, -1), encoder.tokens(image, kept).transpose(1, 2))
        found = {"whole": encoder(image), "dropped": grid.unflatten(2, (4, 3, 2))}
    assert_equal(found, {name: theirs[name] for name in found})


@pytest.mark.parametrize("orientation", ["RAS", "SAR"])
def test_nnu_net_s_network_gives_our_tokens(python: Path, tmp_path: Path, orientation: Literal["RAS", "SAR"]) -> None:
    """Its arrays have the axes z, y, x of a file: those of a RAS store are turned, those of a SAR store are so already."""
    torch.manual_seed(0)
    encoder = VolumeEncoder(VolumeEncoderConfig(embed_dim=72, depth=2, num_heads=4, patch_size=8, drop_path=0.0)).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    volume = torch.randn(2, 1, 32, 24, 16)
    save_nnunet(encoder, tmp_path / "nnunet.pth", (32, 24, 16), (2.0, 2.0, 2.0), orientation)
    turn = (0, 1, 4, 3, 2) if orientation == "RAS" else (0, 1, 2, 3, 4)
    save_file({"array": volume.permute(turn).contiguous()}, tmp_path / "array.safetensors")
    published(python, "nnunet", tmp_path)
    found = load_file(tmp_path / "nnunet.safetensors")["tokens"].permute(turn)
    with torch.no_grad():
        assert_equal({"tokens": found}, {"tokens": encoder(volume)})


def test_names_and_shapes_of_the_released_model(python: Path, folder: Path) -> None:
    published(python, "names", folder / "names.json")
    with torch.device("meta"):
        released = Colipri(ColipriConfig())
    ours = {name: list(value.shape) for name, value in released.state_dict().items()}
    assert ours == json.loads((folder / "names.json").read_text())


def test_the_whole_path_on_real_volumes(python: Path, folder: Path, model: Colipri, shared: Path) -> None:
    files = [shared / f"data/ct/images/{name}.nii.gz" for name in VOLUMES]
    published(python, "process", folder, *files)
    theirs, inputs = load_file(folder / "processed.safetensors"), load_file(folder / "inputs.safetensors")
    for orientation in ("RAS", "SAR"):
        whole = VolumeTransform(VolumeTransformConfig(orientation=orientation))
        small = VolumeTransform(VolumeTransformConfig(orientation=orientation, spacing=6, size=64))
        for number, file in enumerate(files):
            key = f"{orientation}_{number}"
            print(f"{file.name}, {orientation}")
            assert_equal({"volume": whole.batch([file])}, {"volume": theirs[key]})
            np.testing.assert_allclose(whole(file).affine, theirs[f"{key}_affine"], atol=1e-5)
            with torch.no_grad():
                latent = model.encode_image(small.batch([file]), pool=True, project=True, normalize=True)
                probabilities = model.classify(latent, model.encode_text(inputs["ids"], inputs["mask"]))
            expected = {"latent": theirs[f"{key}_latent"], "probabilities": theirs[f"{key}_probabilities"]}
            assert_equal({"latent": latent, "probabilities": probabilities}, expected)
