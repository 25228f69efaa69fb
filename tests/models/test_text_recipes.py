"""Published text encoders: pinned revisions, pooling as published, and CXR-BERT's layout read without its code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import gelu, layer_norm, linear, normalize

from lingula.core.errors import UserError
from lingula.models import text_encoder
from lingula.models.text_config import TextEncoderConfig
from lingula.models.text_encoder import TextEncoder, load_text_encoder
from lingula.models.text_recipes import RECIPES, pinned_revision

TEXTS = ["no pleural effusion", "effusion", "the heart is enlarged and there is no effusion"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, "no", "pleural", "effusion", "the", "heart", "is", "enlarged", "and", "there"]
HIDDEN = 768
CODE = "raise SystemExit('the code of a model folder was run')\n"


def masked_language_model() -> torch.nn.Module:
    """One narrow layer, but as many features per token as the published ones have."""
    from transformers import BertConfig, BertForMaskedLM

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16}
    return BertForMaskedLM(BertConfig(vocab_size=len(WORDS), hidden_size=HIDDEN, **sizes)).eval()


def write_vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "model_max_length": 16}')


@pytest.fixture(scope="module")
def cxr_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the hub has it: config with auto_map, code, vocabulary, weights with body, head and projection head."""
    folder = tmp_path_factory.mktemp("hub") / "cxr-bert"
    folder.mkdir()
    model = masked_language_model()
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "dense_to_hidden.weight": (128, HIDDEN),
        "dense_to_hidden.bias": (128,),
        "LayerNorm.weight": (128,),
        "LayerNorm.bias": (128,),
        "dense_to_output.weight": (128, 128),
        "dense_to_output.bias": (128,),
    }
    head = {f"cls_projection_head.{name}": torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    body = {name: value for name, value in model.state_dict().items() if name != "cls.predictions.decoder.weight"}
    torch.save({**body, **head, "bert.embeddings.position_ids": torch.arange(16)[None]}, folder / "pytorch_model.bin")
    auto_map = {"AutoConfig": "configuration_cxrbert.CXRBertConfig", "AutoModel": "modeling_cxrbert.CXRBertModel"}
    values = model.config.to_dict() | {"model_type": "cxr-bert", "architectures": ["CXRBertModel"], "auto_map": auto_map}
    (folder / "config.json").write_text(json.dumps(values | {"projection_size": 128}))
    for file in ("configuration_cxrbert.py", "modeling_cxrbert.py"):
        (folder / file).write_text(CODE)
    write_vocabulary(folder)
    return folder


@pytest.fixture(scope="module")
def plain_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Bio_ClinicalBERT has it: pickled weights under `bert.` with the pre-training heads, and a vocabulary."""
    folder = tmp_path_factory.mktemp("hub") / "bert"
    folder.mkdir()
    model = masked_language_model()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(model.config.to_dict() | {"model_type": "bert", "architectures": None}))
    write_vocabulary(folder)
    return folder


def load(name: str, folder: Path | None, **options: object) -> TextEncoder:
    return load_text_encoder(TextEncoderConfig(name=name, folder=folder, **options))  # type: ignore[arg-type]


def states(folder: Path, text: str) -> torch.Tensor:
    """Last hidden states of one text, `tokens features`, by transformers alone."""
    model = masked_language_model()
    model.load_state_dict(torch.load(folder / "pytorch_model.bin", weights_only=True), strict=False)
    ids = [2, *(WORDS.index(word) for word in text.split()), 3]
    with torch.no_grad():
        return model.bert(input_ids=torch.tensor([ids])).last_hidden_state[0]


def test_specialised_cxr_bert_is_its_first_token_through_its_projection_head(cxr_bert: Path, tmp_path: Path) -> None:
    encoder = load("cxr-bert-specialized", cxr_bert)
    found = encoder(encoder.tokenise(TEXTS))
    assert found.shape == (3, encoder.dimension) == (3, 128)
    head = {n.removeprefix("cls_projection_head."): v for n, v in torch.load(cxr_bert / "pytorch_model.bin").items()}
    for row, text in enumerate(TEXTS):
        hidden = gelu(linear(states(cxr_bert, text)[0], head["dense_to_hidden.weight"], head["dense_to_hidden.bias"]))
        hidden = layer_norm(hidden, (128,), head["LayerNorm.weight"], head["LayerNorm.bias"], 1e-12)
        expected = normalize(linear(hidden, head["dense_to_output.weight"], head["dense_to_output.bias"]), dim=0)
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=1e-4)
    encoder.save(tmp_path / "copy")
    again = load_text_encoder(TextEncoderConfig(name=str(tmp_path / "copy")))
    assert again.fingerprint() == encoder.fingerprint()
    assert torch.equal(again(again.tokenise(TEXTS)), found)


def test_general_cxr_bert_is_its_first_token(cxr_bert: Path) -> None:
    encoder = load("cxr-bert-general", cxr_bert)
    found = encoder(encoder.tokenise(TEXTS))
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(found[row], states(cxr_bert, text)[0], atol=1e-5, rtol=1e-4)
    assert encoder.projection is None


@pytest.mark.parametrize("name", ["bio-clinical-bert", "pubmed-bert"])
def test_encoders_without_a_sentence_vector_are_the_mean_over_their_tokens(plain_bert: Path, name: str) -> None:
    encoder = load(name, plain_bert)
    found = encoder(encoder.tokenise(TEXTS))
    for row, text in enumerate(TEXTS):
        torch.testing.assert_close(found[row], states(plain_bert, text).mean(dim=0), atol=1e-5, rtol=1e-4)
    assert encoder.dimension == RECIPES[name].dimension == 768


def test_pooling_can_be_chosen_and_a_head_that_is_not_there_is_an_error(cxr_bert: Path, plain_bert: Path) -> None:
    assert load("cxr-bert-specialized", cxr_bert, pooling="mean").dimension == 768
    with pytest.raises(UserError, match="no projection head"):
        load("pubmed-bert", plain_bert, pooling="projection")


def test_another_model_under_a_published_name_is_refused(plain_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no projection head"):
        load("cxr-bert-specialized", plain_bert)
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(tmp_path)
    write_vocabulary(tmp_path)
    with pytest.raises(UserError, match="gives 16 features, pubmed-bert as published 768"):
        load("pubmed-bert", tmp_path)


def test_incomplete_cxr_bert_is_refused_never_filled_with_random_numbers(cxr_bert: Path, tmp_path: Path) -> None:
    state = torch.load(cxr_bert / "pytorch_model.bin")
    for file in ("config.json", "vocab.txt", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((cxr_bert / file).read_bytes())
    for lost, said in (("bert.encoder.layer.0", "lack 16 tensors"), ("cls_projection_head.dense_to_o", "projection head")):
        kept = {name: value.clone() for name, value in state.items() if not name.startswith(lost)}
        save_file(kept, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=said):
            load("cxr-bert-specialized", tmp_path)
    assert "cls.predictions.bias" in load_file(tmp_path / "model.safetensors")


def test_pinned_revisions_are_commits_and_are_what_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def fetch(*arguments: object) -> Path:
        asked.append(arguments)
        raise UserError("no network here")

    monkeypatch.setattr(text_encoder, "find_model", fetch)
    pinned = {name: recipe for name, recipe in RECIPES.items() if recipe.revision is not None}
    for name, recipe in pinned.items():
        assert len(str(recipe.revision)) == 40
        assert set(str(recipe.revision)) <= set("0123456789abcdef")
        with pytest.raises(UserError, match="no network"):
            load(name, None)
        assert asked.pop() == (recipe.hub, recipe.revision, False)
    with pytest.raises(UserError, match="no network"):
        load("pubmed-bert", None, revision="abc", trust_remote_code=True)
    assert asked.pop() == (RECIPES["pubmed-bert"].hub, "abc", True)


def test_what_is_not_pinned_needs_a_revision() -> None:
    with pytest.raises(UserError, match=r"no revision of microsoft/BiomedVLP-CXR-BERT-general is pinned"):
        load("cxr-bert-general", None)
    assert pinned_revision("cxr-bert-general", "main") == "main"


def test_a_folder_belongs_to_a_published_name(plain_bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is for published encoders"):
        load("small-bert", plain_bert)
    with pytest.raises(UserError, match="no such model folder"):
        load("pubmed-bert", tmp_path / "nowhere")
