from __future__ import annotations

import subprocess
import sys

import pytest

from lingula.core.errors import UserError
from lingula.methods.registry import CONFIGS, presets
from lingula.training.config import PretrainConfig
from lingula.training.recipes import recipe


@pytest.mark.parametrize(("method", "preset"), [(method, preset) for method in CONFIGS for preset in presets(method)])
def test_every_preset_is_a_complete_recipe_that_survives_yaml(method: str, preset: str, tmp_path: object) -> None:
    config = recipe(method, preset)
    assert config.method.name == method
    import yaml

    values = yaml.safe_load(config.as_yaml())
    assert PretrainConfig.from_values(values, "yaml") == config
    assert recipe(method, values=values) == config


def test_later_layers_win() -> None:
    values = {"optimisation": {"batch_size": 16, "learning_rate": 0.1}, "data": {"image_size": 96}}
    config = recipe("clip", overrides={"optimisation": {"batch_size": 32}}, values=values)
    assert (config.optimisation.batch_size, config.optimisation.learning_rate, config.data.image_size) == (32, 0.1, 96)


def test_steps_replace_epochs_of_the_layer_below_and_the_other_way_round() -> None:
    assert recipe("m-flag", "released").optimisation.epochs == 51
    config = recipe("m-flag", "released", {"optimisation": {"steps": 10}})
    assert (config.optimisation.steps, config.optimisation.epochs) == (10, None)
    config = recipe("clip", overrides={"optimisation": {"epochs": 2}}, values={"optimisation": {"steps": 10}})
    assert (config.optimisation.steps, config.optimisation.epochs) == (None, 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"optimisation": {"batchsize": 4}}, "Did you mean 'batch_size'"),
        ({"method": {"temprature": 1}}, "Did you mean 'temperature'"),
        ({"optimization": {}}, "Did you mean 'optimisation'"),
        ({"optimisation": {"batch_size": 1}}, "optimisation.batch_size"),
        ({"method": {"name": "m-flag"}}, "is for m-flag, not for clip"),
    ],
)
def test_mistakes_are_named_with_the_remedy(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe("clip", values=values)


def test_unknown_methods_and_presets() -> None:
    with pytest.raises(UserError, match="Did you mean 'm-flag'"):
        recipe("mflag")
    with pytest.raises(UserError, match="Did you mean 'released'"):
        recipe("m-flag", "release")


def test_options_have_unique_names_and_help() -> None:
    """The command line may drop the prefixes of the shared parts."""
    seen: dict[str, str] = {}
    for part in ("data", "augment", "optimisation", "runtime"):
        annotation = PretrainConfig.model_fields[part].annotation
        assert annotation is not None
        for name, field in annotation.model_fields.items():
            assert name not in seen, f"{part}.{name} and {seen[name]}.{name}"
            assert field.description, f"{part}.{name} has no help"
            seen[name] = part


def test_reading_a_recipe_imports_nothing_heavy() -> None:
    code = "import sys; from lingula.training.recipes import recipe; recipe('clip'); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "timm", "transformers", "pyarrow", "sklearn", "matplotlib"} & set(modules)
