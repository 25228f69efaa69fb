"""The text encoder: pooling, freezing, truncation, fingerprint, and folders that are whole or refused."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lingula.core.errors import UserError
from lingula.methods.tokeniser import train_tokeniser
from lingula.models.hub import _wanted
from lingula.models.text_config import SmallLanguageModelConfig, TextEncoderConfig
from lingula.models.text_encoder import TextEncoder, load_text_encoder
from lingula.models.text_pooling import Pooling, Statistics, inverse_frequency, standardisation

TEXTS = ["no effusion", "small left pleural effusion with atelectasis", "heart"]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny folder in the layout of a hub model: a masked-LM BERT with dropout, and its tokeniser."""
    from transformers import BertConfig, BertForMaskedLM

    folder = tmp_path_factory.mktemp("hub") / "bert"
    tokeniser = train_tokeniser(TEXTS * 2, SmallLanguageModelConfig(vocabulary=120, max_tokens=24))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    BertForMaskedLM(BertConfig(vocab_size=len(tokeniser), max_position_embeddings=24, **sizes)).save_pretrained(folder)
    tokeniser.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(hub_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hub_folder, tmp_path / "bert"))


def load(folder: Path, **options: object) -> TextEncoder:
    return load_text_encoder(TextEncoderConfig(name=str(folder), **options))  # type: ignore[arg-type]


def test_mean_pooling_is_the_mean_over_the_real_tokens_of_each_text_alone(folder: Path) -> None:
    encoder = load(folder)
    together = encoder(encoder.tokenise(TEXTS))
    assert together.shape == (3, encoder.dimension) == (3, 16)
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([encoder.tokeniser(text)["input_ids"]])
        states = encoder.model(input_ids=ids).last_hidden_state[0]
        torch.testing.assert_close(together[row], states.mean(dim=0), atol=1e-5, rtol=1e-5)


def test_cls_pooling_is_the_first_token(folder: Path) -> None:
    encoder = load(folder, pooling="cls")
    ids = torch.tensor([encoder.tokeniser(TEXTS[1])["input_ids"]])
    expected = encoder.model(input_ids=ids).last_hidden_state[0, 0]
    torch.testing.assert_close(encoder(encoder.tokenise(TEXTS))[1], expected, atol=1e-5, rtol=1e-5)


def test_several_layers_are_pooled_and_concatenated() -> None:
    hidden = tuple(torch.randn(2, 3, 4) for _ in range(3))
    mask = torch.tensor([[True, True, False], [True, True, True]])
    pooled = Pooling(layers=(0, -1))(hidden, mask)
    for row, length in ((0, 2), (1, 3)):
        expected = torch.cat([hidden[0][row, :length].mean(0), hidden[-1][row, :length].mean(0)])
        torch.testing.assert_close(pooled[row], expected)


def statistics_of(encoder: TextEncoder) -> Statistics:
    weights = inverse_frequency(encoder.token_ids(TEXTS), len(encoder.tokeniser), special=5)
    return Statistics(weights, *standardisation(encoder(encoder.tokenise(TEXTS))))


def test_tokens_of_many_texts_weigh_less_special_and_unseen_ones_nothing() -> None:
    weights = inverse_frequency([[0, 1, 1], [0, 1, 3], [0, 1, 4], [0, 4]], vocabulary=6, special=1)
    expected = torch.tensor([0.0, 4 / 3, 1.0, 4.0, 2.0, 1.0]).log().nan_to_num(neginf=0)
    torch.testing.assert_close(weights, expected)
    assert float(inverse_frequency([[1], [1, 2]], 3, special=0)[1]) > 0


def test_standardised_features_have_mean_zero_and_variance_one() -> None:
    features = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 5, 0.1, 2]) + 3
    mean, scale = standardisation(features, floor=0.0)
    values = Statistics(torch.ones(1), mean, scale)(features)
    torch.testing.assert_close(values.mean(0), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(values.var(0, correction=0), torch.ones(4), atol=1e-4, rtol=0)
    assert all(value.isfinite().all() for value in standardisation(torch.ones(5, 3)))


def test_statistics_weigh_tokens_and_standardise(folder: Path) -> None:
    encoder = load(folder)
    statistics = statistics_of(encoder)
    ids = torch.tensor([encoder.tokeniser(TEXTS[1])["input_ids"]])
    states = encoder.model(input_ids=ids).last_hidden_state[0]
    shares = statistics.token_weights[ids[0]] / statistics.token_weights[ids[0]].sum()
    expected = ((shares[:, None] * states).sum(0) - statistics.mean) * statistics.scale
    encoder = TextEncoder(encoder.model, encoder.tokeniser, encoder.pooling, statistics)
    torch.testing.assert_close(encoder(encoder.tokenise(TEXTS))[1], expected, atol=1e-4, rtol=1e-4)
    assert encoder(encoder.tokenise([""])).isfinite().all()


def test_a_frozen_encoder_has_no_gradient_and_never_drops_out(folder: Path) -> None:
    encoder = torch.nn.Sequential(load(folder)).train()[0]
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    tokens = encoder.tokenise(TEXTS)
    assert torch.equal(encoder(tokens), encoder(tokens))
    assert not encoder(tokens).requires_grad


def test_a_trained_encoder_has_gradients_and_drops_out(folder: Path) -> None:
    encoder = load(folder, frozen=False)
    tokens = encoder.tokenise(TEXTS)
    assert encoder.training
    assert not torch.equal(encoder(tokens), encoder(tokens))
    encoder(tokens).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    encoder.eval()
    assert torch.equal(encoder(tokens), encoder(tokens))


def test_long_texts_are_cut_counted_and_warned_of_once(folder: Path) -> None:
    encoder = load(folder, max_tokens=8)
    with pytest.warns(UserWarning, match=r"1 of 4 texts \(25\.0 %\) are longer than 8 tokens"):
        tokens = encoder.tokenise(["heart"] * 3 + ["effusion " * 40])
    assert tokens.ids.shape == (4, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.tokenise(["effusion " * 40])
    assert (encoder.seen, encoder.cut) == (5, 2)


def test_positions_limit_the_length_whatever_is_asked_for(folder: Path) -> None:
    encoder = load(folder, max_tokens=512)
    assert encoder.max_tokens == 24
    with pytest.warns(UserWarning, match="cut"):
        assert encoder(encoder.tokenise(["effusion " * 100])).isfinite().all()


def test_padding_goes_to_the_longest_of_the_batch(folder: Path) -> None:
    encoder = load(folder)
    tokens = encoder.tokenise(TEXTS)
    assert tokens.mask.sum(dim=1).tolist() == [len(encoder.tokeniser(text)["input_ids"]) for text in TEXTS]
    assert tokens.ids.shape[1] == int(tokens.mask.sum(dim=1).max())
    assert encoder.tokenise([]).ids.shape[0] == 0


def test_lower_layers_and_embeddings_can_stay_while_the_others_are_trained(folder: Path) -> None:
    for embeddings in (False, True):
        encoder = load(folder, frozen=False, frozen_layers=1, frozen_embeddings=embeddings)
        encoder(encoder.tokenise(TEXTS)).square().sum().backward()
        moved = {name for name, parameter in encoder.named_parameters() if parameter.grad is not None}
        assert any("layer.1." in name for name in moved)
        assert not any("layer.0." in name for name in moved)
        assert any("word_embeddings" in name for name in moved) != embeddings
    with pytest.raises(UserError, match="has 2 transformer layers"):
        load(folder, frozen=False, frozen_layers=3)


def test_an_encoder_can_be_trained_without_dropout(folder: Path) -> None:
    for dropout in (True, False):
        encoder = load(folder, frozen=False, dropout=dropout).train()
        tokens = encoder.tokenise(TEXTS)
        assert torch.equal(encoder(tokens), encoder(tokens)) != dropout


def test_padding_to_the_limit_changes_nothing_but_the_length(folder: Path) -> None:
    longest, most = (load(folder, padding=padding) for padding in ("longest", "max"))
    tokens = most.tokenise(TEXTS)
    assert tokens.ids.shape == (3, 24)
    assert torch.equal(tokens.mask.sum(1), longest.tokenise(TEXTS).mask.sum(1))
    torch.testing.assert_close(most(tokens), longest(longest.tokenise(TEXTS)))


def test_token_states_are_the_last_layers(folder: Path) -> None:
    encoder = load(folder, pooling="cls")
    tokens = encoder.tokenise(TEXTS)
    torch.testing.assert_close(encoder.token_states(tokens)[:, 0], encoder(tokens))


def test_a_saved_encoder_comes_back_with_the_same_fingerprint_and_features(folder: Path, tmp_path: Path) -> None:
    encoder = load(folder, max_tokens=16)
    encoder = TextEncoder(encoder.model, encoder.tokeniser, encoder.pooling, statistics_of(encoder))
    encoder.save(tmp_path / "saved")
    again = load_text_encoder(tmp_path / "saved")
    assert again.fingerprint() == encoder.fingerprint() == encoder.fingerprint()
    torch.testing.assert_close(again(again.tokenise(TEXTS)), encoder(encoder.tokenise(TEXTS)))
    assert (tmp_path / "saved" / WEIGHTS).is_file()
    assert (tmp_path / "saved" / "tokenizer.json").is_file()


def test_loading_twice_gives_one_fingerprint_although_the_pooler_has_no_weights(folder: Path) -> None:
    assert load(folder).fingerprint() == load(folder).fingerprint()


def test_everything_that_decides_the_features_is_in_the_fingerprint(folder: Path) -> None:
    encoder = load(folder)
    seen = {encoder.fingerprint(), load(folder, pooling="cls").fingerprint(), load(folder, max_tokens=9).fingerprint()}
    seen.add(TextEncoder(encoder.model, encoder.tokeniser, encoder.pooling, statistics_of(encoder)).fingerprint())
    encoder.tokenise(TEXTS)
    assert encoder.fingerprint() in seen
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[7, 3] += 1e-3  # type: ignore[union-attr,index,operator]
    seen.add(encoder.fingerprint())
    encoder.tokeniser.add_tokens(["effusions"])
    seen.add(encoder.fingerprint())
    assert len(seen) == 6


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def without_a_layer(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    kept = {name: value for name, value in tensors.items() if "layer.1.output" not in name}
    save_file(kept, folder / WEIGHTS, metadata={"format": "pt"})


def with_another_shape(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(name for name in tensors if name.endswith("position_embeddings.weight"))
    save_file(tensors | {name: tensors[name][:5].clone()}, folder / WEIGHTS, metadata={"format": "pt"})


def with_half_a_file(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def without_tokeniser(folder: Path) -> None:
    for file in folder.glob("*token*"):
        file.unlink()


def with_own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "unheard-of", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('must not run')")


def with_other_pooling(folder: Path) -> None:
    (folder / "pooling.json").write_text(json.dumps({"kind": "cls", "layers": [-1], "max_tokens": 9, "statistics": False}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_weights, "has no weights"),
        (without_config, "has no config.json"),
        (without_a_layer, r"lack \d+ tensors of the model"),
        (with_another_shape, "cannot be loaded|lack"),
        (with_half_a_file, "cannot be loaded"),
        (without_tokeniser, "tokeniser"),
        (with_own_code, "trust_remote_code"),
        (with_other_pooling, "saved with cls pooling, not mean"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(UserError, match=message):
        load(folder, pooling="mean")


def test_untrained_small_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'small' has no weights before it is trained"):
        load_text_encoder(TextEncoderConfig())
    with pytest.raises(UserError, match="no such model folder"):
        load_text_encoder(tmp_path / "absent")
    with pytest.raises(UserError, match="no such model folder"):
        load_text_encoder(TextEncoderConfig(name="Bio ClinicalBERT"))


HUB = """
import time
from lingula.core.errors import UserError
from lingula.models.hub import find_model
begun = time.monotonic()
try:
    find_model("nobody/nothing")
except UserError as error:
    print(f"{time.monotonic() - begun:.1f} {error}")
"""


@pytest.mark.parametrize(("offline", "message"), [("1", "HF_HUB_OFFLINE forbids the hub"), ("0", "the hub cannot be reached")])
def test_without_a_network_a_hub_name_fails_at_once(tmp_path: Path, offline: str, message: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    environment = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": offline, "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", HUB], env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert message in done.stdout, done.stdout + done.stderr
    assert float(done.stdout.split()[0]) < 20
    assert time.monotonic() - begun < 100


def test_safetensors_are_preferred_and_code_is_fetched_only_when_trusted() -> None:
    class File:
        def __init__(self, name: str) -> None:
            self.rfilename = name

    class Info:
        siblings = tuple(File(name) for name in ("config.json", "pytorch_model.bin", "model.safetensors", "own.py"))

    class OldInfo:
        siblings = (File("config.json"), File("pytorch_model.bin"))

    assert "model*.safetensors*" in _wanted(Info(), with_code=False)
    assert not {"*.py", "pytorch_model*.bin*"} & set(_wanted(Info(), with_code=False))
    assert "*.py" in _wanted(Info(), with_code=True)
    assert "pytorch_model*.bin*" in _wanted(OldInfo(), with_code=False)
