from __future__ import annotations

import subprocess
import sys

import pytest

from lingula.core.errors import UserError
from lingula.methods.clip import Clip
from lingula.methods.clip_config import ClipConfig
from lingula.methods.m_flag import MFlag
from lingula.methods.m_flag_config import MFlagConfig
from lingula.methods.registry import CONFIGS, build, default_preset, presets
from lingula.methods.supervised import Supervised
from lingula.methods.supervised_config import SupervisedConfig
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.training.config import PretrainConfig

TINY = ImageEncoderConfig(name="test_resnet")


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, lingula.methods.registry; print([m for m in ('torch', 'timm', 'transformers', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(("method", "preset"), [(method, preset) for method in CONFIGS for preset in presets(method)])
def test_every_preset_is_a_valid_configuration(method, preset):
    values = presets(method)[preset]
    config = PretrainConfig.from_values(dict(values), preset)
    assert config.method.name == method
    assert isinstance(config.method, CONFIGS[method])


def test_the_released_m_flag_is_what_the_official_code_ran():
    config = PretrainConfig.from_values(dict(presets("m-flag")["released"]), "released")
    method, optimisation = config.method, config.optimisation
    assert (method.latent, method.hidden, method.orthogonality_form, method.per_dimension) == (1024, 2048, "raw", False)
    assert (method.alignment_weight, method.orthogonality_weight, method.off_diagonal_weight) == (1, 1, 0.0051)
    assert (optimisation.epochs, optimisation.batch_size, optimisation.learning_rate) == (51, 512, 2e-5)
    assert (optimisation.weight_decay, optimisation.betas, optimisation.clip_norm) == (5e-2, (0.9, 0.999), None)
    samples, batch = 217_000, 512
    steps = 51 * (samples // batch)
    official = int(50 * samples // 4 // batch * 0.4)
    assert optimisation.restart_period * steps == pytest.approx(official, rel=2e-3)
    assert config.image_encoder.weights == "imagenet"


@pytest.mark.parametrize("method", CONFIGS)
def test_the_default_preset_exists_and_sound_is_the_default_configuration(method):
    assert default_preset(method) in presets(method)
    if "sound" in presets(method):
        assert default_preset(method) == "sound"
        assert CONFIGS[method].model_validate(presets(method)["sound"]["method"]) == CONFIGS[method]()


def test_build_makes_each_method():
    clip = build(ClipConfig(), TINY, text_dimension=12)
    m_flag = build(MFlagConfig(latent=4, hidden=8), TINY, text_dimension=12)
    assert isinstance(clip, Clip)
    assert isinstance(m_flag, MFlag)
    assert clip.text_head.layers.output.in_features == 12
    supervised = build(SupervisedConfig(), TINY, findings=["a", "b"])
    assert isinstance(supervised, Supervised)
    assert supervised.findings == ["a", "b"]
    chosen = build(SupervisedConfig(findings=("b",)), TINY, findings=["a", "b"])
    assert chosen.findings == ["b"]


def test_what_cannot_be_built_says_why():
    with pytest.raises(UserError, match="no finding"):
        build(SupervisedConfig(), TINY)
    with pytest.raises(ValueError, match="text encoder"):
        build(ClipConfig(), TINY)
    with pytest.raises(UserError, match="m-flag"):
        presets("mflag")
