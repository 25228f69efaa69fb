"""Which words a tokeniser knows."""

from __future__ import annotations

from typing import Any

JOINS = ("##", "▁", "Ġ")
"""What word-piece, sentence-piece and byte-level vocabularies put before a piece."""
UNKNOWN = ("[UNK]", "<unk>")


def unknown_words(tokeniser: Any, text: str) -> list[str]:
    """Return the words of a text that mean nothing to a vocabulary, each once, in order.

    A word of several letters is known where some piece of it has at least two letters: single characters are in every
    vocabulary, so a word that falls apart into them was not learned. Punctuation is no word.

    Args:
        tokeniser: A tokeniser of the library `tokenizers`.
        text: Words.
    """
    return [word for word in words_of(text) if not _known(tokeniser, word)]


def words_of(text: str) -> list[str]:
    """Return the words of a text, each once, without punctuation around them."""
    kept = "".join(letter if letter.isalnum() or letter in "-'" else " " for letter in text)
    return list(dict.fromkeys(word.strip("-'") for word in kept.split() if word.strip("-'")))


def _known(tokeniser: Any, word: str) -> bool:
    pieces = [_bare(piece) for piece in tokeniser.encode(word, add_special_tokens=False).tokens if piece not in UNKNOWN]
    return any(len(piece) > 1 or piece.lower() == word.lower() for piece in pieces)


def _bare(piece: str) -> str:
    for join in JOINS:
        piece = piece.removeprefix(join)
    return piece
