"""Weights of the official G2D layout, written by a stand-in with that layout, to ours and back."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from lingula.cli import main
from lingula.core.batch import Batch, Tokens
from lingula.core.checkpoint import load_weights
from lingula.core.errors import UserError
from lingula.exchange.g2d import convert_official_g2d, official_name, to_official_g2d
from lingula.methods.g2d import G2D
from lingula.models.encoder_config import ImageEncoderConfig
from lingula.models.radiograph_encoder import RadiographEncoder
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling
from lingula.training.recipes import recipe

SIZE, HIDDEN, LATENT, WORDS, HEADS = 64, 12, 16, 32, 4
DECODER = (16, 12, 8, 8, 8)
UNUSED = {"pseudo_conv.weight", "pseudo_conv.bias", "lm_model.pooler.dense.weight", "lm_model.pooler.dense.bias"}


class Pool(nn.Module):
    """Attention of the mean cell over itself and all cells, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn((SIZE // 32) ** 2 + 1, LATENT))
        self.mhsa = nn.MultiheadAttention(LATENT, HEADS)
        self.c_proj = nn.Linear(LATENT, LATENT)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        cells = grid.flatten(2).transpose(1, 2)
        tokens = torch.cat([cells.mean(1, keepdim=True), cells], dim=1) + self.positional_embedding
        asked = tokens @ self.mhsa.in_proj_weight.T + self.mhsa.in_proj_bias
        query, key, value = (part.unflatten(2, (HEADS, -1)) for part in asked.chunk(3, dim=2))
        scores = torch.einsum("bhd,bnhd->bhn", query[:, 0], key) / (LATENT // HEADS) ** 0.5
        attention = scores.softmax(2)
        pooled = torch.einsum("bhn,bnhd->bhd", attention, value).flatten(1)
        return self.c_proj(self.mhsa.out_proj(pooled)), attention[:, :, 1:]


class Stand(nn.Module):
    """The same names and shapes as the official model, small."""

    def __init__(self) -> None:
        super().__init__()
        self.img_model = smp.Unet("resnet18", encoder_weights=None, decoder_channels=DECODER)
        width = self.img_model.encoder.out_channels[-1]
        self.attnpool = Pool()
        self.lm_model = BertModel(bert_config()).eval()
        self.proj_v = nn.Sequential(
            nn.Conv2d(width, HIDDEN, 1, bias=False),
            nn.BatchNorm2d(HIDDEN, affine=False),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, LATENT, 1, bias=False),
        )
        self.proj_t = nn.Sequential(
            nn.Conv1d(WORDS, HIDDEN, 1, bias=False),
            nn.BatchNorm1d(HIDDEN, affine=False),
            nn.ReLU(),
            nn.Conv1d(HIDDEN, LATENT, 1, bias=False),
        )
        self.pseudo_conv = nn.Conv2d(256, LATENT, 1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.images is not None
        assert batch.tokens is not None
        levels = self.img_model.encoder(batch.images.expand(-1, 3, -1, -1))
        pooled, attention = self.attnpool(self.proj_v(levels[-1]))
        logits = self.img_model.segmentation_head(self.img_model.decoder(levels))
        states = self.lm_model(batch.tokens.ids, attention_mask=batch.tokens.mask.long()).last_hidden_state
        text = self.proj_t(states.transpose(1, 2))[:, :, 0]
        return {"pooled": pooled, "attention": attention, "logits": logits, "text": text}


def bert_config() -> BertConfig:
    size = {"hidden_size": WORDS, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
    return BertConfig(vocab_size=40, max_position_embeddings=16, **size)


def make_ours() -> G2D:
    changes = {
        "method": {"hidden": HIDDEN, "latent": LATENT, "decoder_channels": DECODER},
        "image_encoder": {"name": "resnet18.tv_in1k", "weights": "none"},
    }
    config = recipe("g2d", "released", changes)
    tokeniser = SimpleNamespace(model_max_length=16, pad_token_id=0)
    text = TextEncoder(BertModel(bert_config(), add_pooling_layer=False), tokeniser, Pooling(kind="cls"), frozen=False)
    text.train_partly(0, False, dropout=False)
    encoder = RadiographEncoder(ImageEncoderConfig(name=config.image_encoder.name, channels=3))
    return G2D(config.method, encoder, SIZE, WORDS, text)


def outputs(method: G2D, batch: Batch) -> dict[str, Tensor]:
    assert batch.images is not None
    assert method.decoder is not None
    last, pyramid = method.image_encoder.pyramid(batch.images)
    pooled, attention = method._pool(last)
    logits = method.decoder(batch.images, pyramid)
    return {"pooled": pooled, "attention": attention.flatten(2), "logits": logits, "text": method._text_latents(batch)}


@pytest.fixture(scope="module")
def official() -> Stand:
    """A few steps of batch norm statistics, so that they differ from what a new model has."""
    torch.manual_seed(3)
    model = Stand()
    with torch.no_grad():
        model(make_batch(7))
    return model


@pytest.fixture
def state(official: Stand) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in official.state_dict().items()}


def make_batch(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 40, (5, 9), generator=generator)
    mask = torch.arange(9) < torch.tensor([9, 4, 6, 9, 2])[:, None]
    images = torch.randn(5, 1, SIZE, SIZE, generator=generator)
    return Batch([str(row) for row in range(5)], images, tokens=Tokens(ids * mask, mask))


def assert_same_outputs(official: Stand, method: G2D, training: bool) -> None:
    official, method = (copy.deepcopy(module).train(training) for module in (official, method))
    official.lm_model.eval()
    batch = make_batch(1)
    with torch.no_grad():
        expected, found = official(batch), outputs(method, batch)
    for name, value in expected.items():
        assert value.std() > 1e-3, f"{name} says nothing"
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("training", [True, False])
def test_the_converted_model_gives_the_same_outputs(official: Stand, state: dict[str, Tensor], training: bool) -> None:
    method = make_ours()
    method.load_state_dict(convert_official_g2d(state, method.state_dict()))
    assert method.temperature == pytest.approx(0.07)
    assert_same_outputs(official, method, training)


@pytest.mark.parametrize("training", [True, False])
def test_our_model_gives_the_same_outputs_in_the_official_layout(training: bool) -> None:
    torch.manual_seed(4)
    method, other = make_ours(), Stand()
    missing, unexpected = other.load_state_dict(to_official_g2d(method.state_dict()), strict=False)
    assert (set(missing), unexpected) == (UNUSED, [])
    assert_same_outputs(other, method, training)


def test_there_and_back_changes_nothing(state: dict[str, Tensor]) -> None:
    back = to_official_g2d(convert_official_g2d(state))
    assert set(state) - set(back) == UNUSED
    assert all(torch.equal(value, state[name]) for name, value in back.items())


@pytest.mark.parametrize("form", ["bare", "module", "checkpoint", "old-transformers"])
def test_a_file_becomes_one_to_start_a_run_from(
    state: dict[str, Tensor], tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    method, content = make_ours(), dict(state)
    if form == "module":
        content = {f"module.{name}": value for name, value in state.items()}
    elif form == "checkpoint":
        content = {"epoch": 3, "model_state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}}
    elif form == "old-transformers":
        content["lm_model.embeddings.position_ids"] = torch.arange(16)[None]
    torch.save(content, tmp_path / "w.pth")
    arguments = ["convert", str(tmp_path / "w.pth"), str(tmp_path / "w.safetensors"), "--from", "g2d"]
    main(arguments)
    assert f"{len(method.state_dict())} tensors" in capsys.readouterr().out
    load_weights(tmp_path / "w.safetensors", method)
    expected = convert_official_g2d(state)
    assert all(torch.equal(value, expected[name]) for name, value in method.state_dict().items())
    with pytest.raises(SystemExit):
        main(arguments)
    assert "exists already" in capsys.readouterr().err


def test_the_official_encoder_alone_is_for_the_image_encoder(official: Stand, tmp_path: Path) -> None:
    torch.save(official.img_model.encoder.state_dict(), tmp_path / "e.pth")
    with pytest.raises(UserError, match="lack img_model") as error:
        convert_official_g2d(tmp_path / "e.pth")
    assert "without --from, for --image-encoder.weights" in error.value.remedy
    main(["convert", str(tmp_path / "e.pth"), str(tmp_path / "e.safetensors")])
    config = ImageEncoderConfig(name="resnet18.tv_in1k", weights=str(tmp_path / "e.safetensors"), channels=3)
    encoder = RadiographEncoder(config).eval()
    images = make_batch(1).images
    assert images is not None
    with torch.no_grad():
        expected = copy.deepcopy(official.img_model.encoder).eval()(images.expand(-1, 3, -1, -1))[-1]
        torch.testing.assert_close(encoder.feature_map(images), expected, rtol=1e-4, atol=1e-5)


def test_missing_and_unknown_names_are_named(state: dict[str, Tensor]) -> None:
    del state["attnpool.c_proj.bias"], state["proj_t.3.weight"]
    with pytest.raises(UserError, match=r"lack attnpool\.c_proj\.bias, proj_t\.3\.weight\. Give"):
        convert_official_g2d(state)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"word_emb.weight": 1, "b.c": 1, "b.d": 1, "b.e": 1}, r"have unknown b\.c, b\.d, b\.e and 1 more"),
        ({"proj_v.4.bias": 1}, r"have unknown proj_v\.4\.bias"),
        ({"attnpool.k_proj.weight": 1}, r"have unknown attnpool\.k_proj\.weight"),
    ],
)
def test_unknown_names_are_named(state: dict[str, Tensor], extra: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        convert_official_g2d(state | {name: torch.zeros(size) for name, size in extra.items()})


@pytest.mark.parametrize("part", ["img_model.decoder.", "attnpool.", "lm_model."])
def test_a_part_that_is_not_there_is_named(state: dict[str, Tensor], part: str) -> None:
    left = {name: value for name, value in state.items() if not name.startswith(part)}
    with pytest.raises(UserError, match=rf"lack {part}\*"):
        convert_official_g2d(left)


@pytest.mark.parametrize(
    ("name", "shape", "said"),
    [
        ("proj_v.0.weight", (HIDDEN, 512, 3, 3), r"proj_v\.0\.weight is \(12, 512, 3, 3\), not the kernel"),
        ("proj_v.0.weight", (HIDDEN, 512), r"proj_v\.0\.weight is \(12, 512\), not the kernel"),
        ("proj_t.3.weight", (LATENT, HIDDEN, 2), r"proj_t\.3\.weight is \(16, 12, 2\), not the kernel"),
        ("proj_t.1.running_mean", (HIDDEN + 1,), r"other shapes for proj_t\.1\.running_mean \(\(13,\) instead of \(12,\)\)"),
        ("proj_v.3.weight", (LATENT + 4, HIDDEN, 1, 1), r"other shapes for attnpool\.c_proj\.weight"),
        ("attnpool.positional_embedding", (7, LATENT), r"positional_embedding \(\(7, 16\) instead of \(5, 16\)\)"),
    ],
)
def test_shapes_that_do_not_fit_each_other_are_named(
    state: dict[str, Tensor], name: str, shape: tuple[int, ...], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        convert_official_g2d(state | {name: torch.zeros(shape)})


def test_what_does_not_fit_the_method_is_named(state: dict[str, Tensor]) -> None:
    wanted = make_ours().state_dict()
    deeper = state | {"img_model.encoder.layer4.2.conv1.weight": torch.zeros(1)}
    with pytest.raises(UserError, match=r"have unknown img_model\.encoder\.layer4\.2\.conv1\.weight"):
        convert_official_g2d(deeper, wanted)
    del state["lm_model.encoder.layer.1.output.dense.bias"]
    with pytest.raises(UserError, match=r"lack lm_model\.encoder\.layer\.1\.output\.dense\.bias"):
        convert_official_g2d(state, wanted)


def test_what_the_official_layout_cannot_hold_is_refused() -> None:
    state = make_ours().state_dict()
    with pytest.raises(UserError, match=r"have unknown latent_norm\.weight"):
        to_official_g2d(state | {"latent_norm.weight": torch.ones(LATENT)})
    with pytest.raises(UserError, match=r"lack text_encoder\.model\.\*"):
        to_official_g2d({name: value for name, value in state.items() if not name.startswith("text_encoder")})
    wider = {
        "image_head.output.weight": (20, HIDDEN),
        "attention_pool.positional_embedding": (5, 20),
        "attention_pool.mhsa.in_proj_weight": (60, 20),
        "attention_pool.mhsa.in_proj_bias": (60,),
        "attention_pool.mhsa.out_proj.weight": (20, 20),
        "attention_pool.mhsa.out_proj.bias": (20,),
        "attention_pool.c_proj.weight": (LATENT, 20),
    }
    with pytest.raises(UserError, match="pools 20 features into 16"):
        to_official_g2d(state | {name: torch.zeros(shape) for name, shape in wider.items()})


def test_every_name_has_its_official_one(state: dict[str, Tensor]) -> None:
    assert {official_name(name) for name in make_ours().state_dict()} == set(state) - UNUSED | {"log_temperature"}


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_neither_run_nor_converted(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state | {"lm_model.x": Bomb(tmp_path / "exploded")}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(SystemExit):
            main(["convert", str(tmp_path / name), str(tmp_path / "out.safetensors"), "--from", "g2d"])
        with pytest.raises(UserError, match=r"Nothing of it was run|holds more than tensors"):
            convert_official_g2d(tmp_path / name)
    assert not (tmp_path / "exploded").exists()
    assert not (tmp_path / "out.safetensors").exists()
