"""The WordPiece trainer against a slow one that counts everything anew."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from lingula.methods.wordpiece import train_vocabulary

WORDS = st.dictionaries(st.text("abc", min_size=1, max_size=7), st.integers(1, 9), min_size=1, max_size=8)


def slow(words: dict[str, int], size: int, special: list[str]) -> list[str]:
    pieces = {word: [word[0], *("##" + c for c in word[1:])] for word in words}
    vocabulary = special + sorted({piece for parts in pieces.values() for piece in parts})
    while len(vocabulary) < size:
        counts = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                counts[pair] += words[word]
        if not counts or max(counts.values()) < 2:
            break
        first, second = min(counts, key=lambda pair: (-counts[pair], pair))
        merged = first + second[2:]
        vocabulary += [] if merged in vocabulary else [merged]
        for word, parts in pieces.items():
            after: list[str] = []
            while parts:
                step = 2 if parts[:2] == [first, second] else 1
                after.append(merged if step == 2 else parts[0])
                parts = parts[step:]
            pieces[word] = after
    return vocabulary


@given(WORDS, st.integers(4, 25))
def test_equal_to_counting_everything_anew(words: dict[str, int], size: int) -> None:
    assert train_vocabulary(words, size, ["[PAD]"]) == slow(words, size, ["[PAD]"])


@given(WORDS)
def test_the_order_of_the_words_does_not_matter(words: dict[str, int]) -> None:
    assert train_vocabulary(words, 30, []) == train_vocabulary(dict(reversed(words.items())), 30, [])


def test_frequent_words_become_whole_pieces() -> None:
    vocabulary = train_vocabulary({"effusion": 5, "effusions": 3, "x": 1}, 100, ["[UNK]"])
    assert vocabulary[0] == "[UNK]"
    assert {"effusion", "x", "##s"} <= set(vocabulary)
    assert len(train_vocabulary({"effusion": 5}, 12, ["[UNK]"])) == 12
