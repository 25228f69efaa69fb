from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from golden import assert_same, wave
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_colipri import SIZES, WINDOW, fill, outputs, small

import lingula
from lingula.core.errors import UserError
from lingula.exchange import Colipri, ColipriConfig, load_colipri, save_colipri

GOLDEN = json.loads((Path(__file__).resolve().parents[1] / "golden/colipri/colipri.json").read_text())


@pytest.fixture(scope="module")
def model() -> Colipri:
    model = small()
    fill(model, lambda n, shape: wave(shape, 0.017 + 0.001 * n, 0.1 * n, torch.float64))
    return model


@pytest.fixture
def weights(model: Colipri, tmp_path: Path) -> Path:
    save_colipri(model, tmp_path / "colipri.safetensors")
    return tmp_path / "colipri.safetensors"


def image() -> torch.Tensor:
    return wave((2, 1, *WINDOW), 0.37, 0.1, torch.float32)


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.ones(3, 20, dtype=torch.long)
    mask[1, 7:], mask[2, 15:] = 0, 0
    return torch.arange(60).reshape(3, 20) * 7 % 100, mask


def test_equals_the_published_package(model: Colipri) -> None:
    made = outputs(model, image(), wave((2, 1, 64, 40, 32), 0.53, 0.2, torch.float32), *tokens())
    assert made.keys() == GOLDEN["outputs"].keys()
    for name, value in made.items():
        assert list(value.shape) == GOLDEN["outputs"][name]["shape"], name
        assert_same(value, GOLDEN["outputs"][name], 1e-5)


def test_names_and_shapes_are_those_of_the_released_model() -> None:
    with torch.device("meta"):
        released = Colipri(ColipriConfig())
    assert {name: list(value.shape) for name, value in released.state_dict().items()} == GOLDEN["names"]
    assert ColipriConfig().image_encoder.input_size == 192
    assert released.image_encoder.backbone.config.patch == (8, 8, 8)
    assert released.image_encoder.backbone.config.drop_path == 0.2


def test_what_is_saved_loads_alike(model: Colipri, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "sizes.yaml").write_text(yaml.safe_dump(SIZES))
    torch.save(model.state_dict(), tmp_path / "colipri.pth")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "colipri.pt")
    for path in (weights, tmp_path / "colipri.pth", tmp_path / "colipri.pt"):
        loaded = load_colipri(str(path), str(tmp_path / "sizes.yaml"))
        assert not loaded.training
        assert torch.equal(loaded.encode_image(image(), pool=True, project=True), model.encode_image(image(), True, True))
        assert torch.equal(loaded.encode_text(*tokens()), model.encode_text(*tokens()))
        assert loaded.softmax_temperature.item() == pytest.approx(0.07)
        assert all(value.requires_grad for value in loaded.parameters())
        assert not any(value.is_meta for value in [*loaded.parameters(), *loaded.buffers()])


def test_sizes_travel_in_the_header_and_others_can_read_it(model: Colipri, weights: Path) -> None:
    assert load_colipri(weights).config == model.config
    with safe_open(weights, framework="pt") as file:
        assert file.metadata()["format"] == "pt", "accelerate, through which the package loads, refuses other headers"


def test_half_precision_weights_are_read_as_fp32(model: Colipri, tmp_path: Path) -> None:
    save_file({name: value.half() for name, value in model.state_dict().items()}, tmp_path / "half.safetensors")
    loaded = load_colipri(tmp_path / "half.safetensors", model.config)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}
    found, expected = (each.encode_image(image(), True, True) for each in (loaded, model))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.02)


def test_counters_of_older_transformers_are_left_out(model: Colipri, weights: Path) -> None:
    tensors = load_file(weights) | {"text_encoder.backbone.embeddings.position_ids": torch.arange(64)[None]}
    save_file(tensors, weights)
    assert torch.equal(load_colipri(weights, model.config).encode_text(*tokens()), model.encode_text(*tokens()))


def test_any_size_that_the_patch_divides_is_read(model: Colipri) -> None:
    assert model.encode_image(torch.zeros(1, 1, 16, 40, 8)).shape == (1, 72, 2, 5, 1)
    assert model.encode_image(torch.zeros(1, 1, 16, 40, 8), project=True).shape == (1, 48, 2, 5, 1)


def test_padding_never_changes_a_text(model: Colipri) -> None:
    ids, mask = tokens()
    torch.testing.assert_close(model.encode_text(ids[1:2, :7]), model.encode_text(ids, mask)[1:2], atol=1e-6, rtol=1e-5)


def test_probabilities_are_a_softmax_over_prompts_at_every_patch(model: Colipri) -> None:
    texts = model.encode_text(*tokens())
    dense = model.classify(model.encode_image(image(), project=True, normalize=True), texts)
    assert dense.shape == (2, 3, 4, 3, 2)
    torch.testing.assert_close(dense.sum(dim=1), torch.ones(2, 4, 3, 2))
    pooled = model.encode_image(image(), pool=True, project=True, normalize=True)
    torch.testing.assert_close(model.classify(pooled, texts), (pooled @ texts.T / 0.07).softmax(dim=1))


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"pool": True}, (1, 1, 32, 24, 16), "pooling works on projected tokens only. Give project=True"),
        (
            {},
            (1, 1, 30, 24, 16),
            "a volume of 30x24x16 voxels cannot be cut into patches of 8x8x8. Crop to 24x24x16 or pad to 32x24",
        ),
        ({}, (1, 3, 32, 24, 16), "volumes have 3 channels"),
        ({}, (32, 24, 16), "volumes must be `batch channel x y z`"),
        ({"window_size": 32}, (1, 1, 32, 24, 16), "a window of 32x32x32 voxels is larger than the volume of 32x24x16"),
        ({"window_size": (16, 20, 16)}, (1, 1, 32, 24, 16), "a window of 16x20x16 voxels cannot be cut"),
    ],
)
def test_images_that_cannot_be_encoded(model: Colipri, options: dict, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.encode_image(torch.zeros(shape), **options)


def test_weights_that_do_not_fit(model: Colipri, weights: Path, tmp_path: Path) -> None:
    tensors = load_file(weights)
    gone = [name for name in sorted(tensors) if ".blocks.1." in name]
    save_file({name: value for name, value in tensors.items() if name not in gone} | {"head.weight": torch.ones(1)}, weights)
    listed = ", ".join(gone[:3])
    with pytest.raises(UserError, match=rf"{len(gone)} missing \({listed}, …\) and 1 unexpected \(head.weight\)") as caught:
        load_colipri(weights, model.config)
    assert caught.value.remedy == "Give the sizes it was made with: load_colipri(weights, config=FILE.yaml)."
    save_file(tensors | {"image_encoder.projector.bias": torch.ones(47)}, weights)
    with pytest.raises(UserError, match=r"image_encoder.projector.bias is \(47,\) in the file, \(48,\) in the model"):
        load_colipri(weights, model.config)
    with pytest.raises(UserError, match=r"does not fit this colipri model: \d+ missing"):
        load_colipri(weights)
    save_file(tensors | {"softmax_temperature": torch.tensor(float("nan"))}, weights)
    with pytest.raises(UserError, match=r"not finite \(first: softmax_temperature\)"):
        load_colipri(weights, model.config)
    torch.save(model, tmp_path / "whole.pth")
    with pytest.raises(UserError, match="holds more than tensors and plain values"):
        load_colipri(tmp_path / "whole.pth", model.config)


def test_the_temperature_is_a_positive_number(model: Colipri, weights: Path) -> None:
    tensors = load_file(weights)
    save_file(tensors | {"softmax_temperature": torch.tensor(1)}, weights)  # as the package makes it where no weights say more
    assert load_colipri(weights, model.config).softmax_temperature.dtype == torch.float32
    save_file(tensors | {"softmax_temperature": torch.tensor(0)}, weights)
    with pytest.raises(UserError, match=r"has a softmax temperature of 0. Colipri's load_weights and save_weights cut 0.07 to 0"):
        load_colipri(weights, model.config)


def test_lingula_load_gives_the_same_object(model: Colipri, weights: Path, tmp_path: Path) -> None:
    loaded = lingula.load(str(weights))
    assert isinstance(loaded, Colipri)
    assert loaded.config == model.config
    assert not loaded.training
    assert torch.equal(loaded.encode_image(image(), pool=True, project=True), model.encode_image(image(), True, True))
    with pytest.raises(UserError, match=r"is a file and has no last checkpoint. Give the folder of a run"):
        lingula.load(weights, checkpoint="last")
    with pytest.raises(UserError, match=r"no such file: absent.pth"):
        lingula.load("absent.pth")
    save_file({"image_encoder.model.conv1.weight": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match=r"holds no colipri weights. Of a model trained here, give its run's folder"):
        lingula.load(tmp_path / "weights.safetensors")
    (tmp_path / "run.pt").mkdir()
    with pytest.raises(UserError, match=r"run.pt is not a run"):
        lingula.load(tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "volumes hold values that are no finite numbers. Replace them"),
        (float("-inf"), "no finite numbers"),
        (
            -1024.0,
            r"volumes hold values from -1024 to .*, where the encoder was trained on -1 to 1. Bring Hounsfield units there",
        ),
    ],
)
def test_values_that_are_no_preprocessed_volume(model: Colipri, value: float, message: str) -> None:
    images = image()
    images[1, 0, 3, 4, 5] = value
    with pytest.raises(UserError, match=message):
        model.encode_image(images)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int8])
def test_volumes_of_other_types_are_read_as_the_weights_are(model: Colipri, dtype: torch.dtype) -> None:
    images = image().sign().to(dtype)
    assert torch.equal(model.encode_image(images), model.encode_image(images.float()))


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "sprung",)  # type: ignore[return-value]

    (tmp_path / "trap.pt").write_bytes(pickle.dumps({"state_dict": Trap()}, protocol=2))
    with pytest.raises(UserError, match=r"holds more than tensors|cannot be read"):
        load_colipri(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_files_that_are_no_weights(model: Colipri, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "damaged.safetensors").write_text("x")
    for name, message in [
        ("absent.safetensors", "no such file"),
        ("notes.txt", "is not named .safetensors, .pth or .pt"),
        ("damaged.safetensors", "is no safetensors file"),
    ]:
        with pytest.raises(UserError, match=message):
            load_colipri(tmp_path / name)
    with pytest.raises(UserError, match=r"is not named .safetensors. The package tells formats apart"):
        save_colipri(model, tmp_path / "model.bin")
    broken = small()
    broken.softmax_temperature.fill_(float("inf"))
    with pytest.raises(UserError, match="softmax_temperature holds numbers that are not finite"):
        save_colipri(broken, tmp_path / "model.safetensors")
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_encoder": {"embed_dims": 72}}, r"unknown key 'image_encoder.embed_dims'. Did you mean 'embed_dim'\?"),
        ({"image_encoder": {"embed_dim": 70, "num_heads": 4}}, "4 heads do not share 70 features in multiples of 6"),
        ({"image_encoder": {"input_size": 100}}, "an input of 100 voxels cannot be cut into patches of 8"),
        ({"projection_dim": 512}, "texts have 768 features and images 512: they must agree"),
        ({"image_pooler_heads": 5}, "5 pooling heads do not divide 768 features"),
        ({"text_encoder": {"num_attention_heads": 7}}, "7 attention heads do not divide 768 features"),
    ],
)
def test_sizes_that_make_no_sense(tmp_path: Path, weights: Path, change: dict, message: str) -> None:
    (tmp_path / "sizes.yaml").write_text(yaml.safe_dump(change))
    with pytest.raises(UserError, match=message):
        load_colipri(weights, tmp_path / "sizes.yaml")


def test_the_documented_sizes_are_the_defaults(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/concepts/colipri.md").read_text()
    (tmp_path / "sizes.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    documented = yaml.safe_load((tmp_path / "sizes.yaml").read_text())
    assert documented == ColipriConfig().model_dump(mode="json"), "every key, with the released model's number"
    assert ColipriConfig.from_yaml(tmp_path / "sizes.yaml") == ColipriConfig()


def test_sizes_are_read_without_torch() -> None:
    code = "import sys; from lingula.exchange import ColipriConfig; ColipriConfig(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
