from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from lingula.methods.tokeniser import train_tokeniser
from lingula.models.known_words import unknown_words, words_of
from lingula.models.text_config import SmallLanguageModelConfig


def test_words_that_fall_apart_into_letters_are_unknown() -> None:
    reports = ["a small right pleural effusion", "no left pleural effusion", "x rays show effusions"] * 20
    tokeniser = train_tokeniser(reports, SmallLanguageModelConfig(vocabulary=90)).backend_tokenizer
    assert unknown_words(tokeniser, "A small RIGHT effusion, x.") == []
    assert unknown_words(tokeniser, "zqxw effusion zqxw") == ["zqxw"]
    assert unknown_words(tokeniser, "肺 ρ") == ["肺", "ρ"]


def test_pieces_of_a_byte_level_vocabulary_are_bare() -> None:
    vocabulary = {piece: number for number, piece in enumerate(["<unk>", "Ġ", "a", "b", "Ġa", "ab"])}
    tokeniser = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokeniser.normalizer = normalizers.Prepend("Ġ")
    tokeniser.pre_tokenizer = pre_tokenizers.Whitespace()
    assert unknown_words(tokeniser, "a b") == ["b"]  # "Ġb" is no entry


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Right-sided effusion, small.", ["Right-sided", "effusion", "small"]),
        ("left left (left)", ["left"]),
        ("... - !", []),
    ],
)
def test_words_have_no_punctuation(text: str, words: list[str]) -> None:
    assert words_of(text) == words
