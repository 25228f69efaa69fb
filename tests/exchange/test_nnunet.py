from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lingula.core.errors import UserError
from lingula.exchange.nnunet import nnunet_checkpoint, save_nnunet
from lingula.models.volume_config import SIZES, VolumeEncoderConfig
from lingula.models.volume_encoder import VolumeEncoder

SIZE, SPACING = (16, 12, 8), (2.0, 2.5, 3.0)


def small(**options: Any) -> VolumeEncoder:
    torch.manual_seed(0)
    sizes = {"embed_dim": 36, "depth": 2, "num_heads": 2, "patch_size": 4, "layer_scale": 1.0, "drop_path": 0.0}
    encoder = VolumeEncoder(VolumeEncoderConfig.from_values(sizes | options, "the small sizes")).double().eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def load(checkpoint: dict[str, Any]) -> VolumeEncoder:
    """Our own encoder with the written weights; it has no embedding of places, and that must be zero."""
    weights = dict(checkpoint["network_weights"])
    assert not weights.pop("eva.pos_embed").any()
    encoder = small()
    encoder.load_state_dict(weights)
    return encoder


@torch.no_grad()
def test_on_nnu_net_s_axes_it_gives_the_same_tokens() -> None:
    encoder, volumes = small(), torch.randn(2, 1, *SIZE, dtype=torch.float64)
    ours = encoder(volumes)
    theirs = load(nnunet_checkpoint(encoder, SIZE, SPACING, "RAS"))(volumes.permute(0, 1, 4, 3, 2))
    torch.testing.assert_close(theirs.permute(0, 1, 4, 3, 2), ours, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(encoder(volumes.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2), ours), "axes matter"
    kept = load(nnunet_checkpoint(encoder, SIZE, SPACING, "SAR"))(volumes)
    torch.testing.assert_close(kept, ours)


def test_the_file_holds_what_the_route_reads(tmp_path: Path) -> None:
    save_nnunet(small(), tmp_path / "a.pth", SIZE, SPACING, "RAS")
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    plan, weights = content["nnssl_adaptation_plan"], content["network_weights"]
    (configuration,) = plan["pretrain_plan"]["configurations"].values()
    assert configuration == {"spacing": [3.0, 2.5, 2.0], "patch_size": [8, 12, 16]}
    assert plan["recommended_downstream_patchsize"] == [8, 12, 16]
    assert plan["pretrain_num_input_channels"] == 1
    assert weights["eva.pos_embed"].shape == (1, 4 * 3 * 2, 36)
    assert plan["key_to_lpe"] in weights
    assert all(f"{key}.weight" in weights for key in plan["keys_to_in_proj"])
    parts = {name.split(".")[0] for name in weights}
    assert parts == {plan["key_to_encoder"], plan["key_to_stem"], "mask_token"}
    assert plan["architecture_plans"]["arch_class_name"] == "PrimusX"
    assert plan["architecture_plans"]["arch_kwargs"]["patch_embed_size"] == [4, 4, 4]


def test_sizes_that_it_knows_go_by_name() -> None:
    with torch.device("meta"):
        encoder = VolumeEncoder(SIZES["small"])
    encoder = encoder.to_empty(device="cpu")
    for value in encoder.state_dict().values():
        value.zero_()
    plan = nnunet_checkpoint(encoder, (64, 64, 64), None, "SAR")["nnssl_adaptation_plan"]
    expected = {"arch_class_name": "PrimusS", "arch_kwargs": None, "arch_kwargs_requiring_import": None}
    assert plan["architecture_plans"] == expected
    assert plan["pretrain_plan"]["configurations"]["3d_fullres"]["spacing"] is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"register_tokens": 2}, "register tokens"),
        ({"mlp_ratio": 4.0}, "4 times"),
        ({"patch_size": (4, 4, 2)}, "different sides"),
    ],
)
def test_what_nnu_net_cannot_build_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        nnunet_checkpoint(small(**options), SIZE, SPACING, "RAS")


def test_bad_numbers_and_names_are_refused(tmp_path: Path) -> None:
    encoder = small()
    with pytest.raises(UserError, match="is not named"):
        save_nnunet(encoder, tmp_path / "a.safetensors", SIZE, SPACING, "RAS")
    with pytest.raises(UserError, match="cannot be cut into patches"):
        save_nnunet(encoder, tmp_path / "a.pth", (10, 12, 8), SPACING, "RAS")
    with torch.no_grad():
        encoder.eva.norm.weight[0] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        save_nnunet(encoder, tmp_path / "a.pth", SIZE, SPACING, "RAS")
    assert not list(tmp_path.iterdir())
