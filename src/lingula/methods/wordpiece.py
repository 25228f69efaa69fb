"""A WordPiece vocabulary that is the same every time: the trainer of `tokenizers` breaks ties by hash order."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

Pair = tuple[str, str]
PREFIX = "##"


def train_vocabulary(words: Mapping[str, int], size: int, special: Sequence[str], least: int = 2) -> list[str]:
    """Merge the most frequent pair of neighbouring pieces until the vocabulary is full; ties go to the first in the alphabet.

    Args:
        words: Word to how often it occurs.
        size: Entries, at most, unless characters and special tokens alone are more.
        special: Special tokens, which come first.
        least: Pairs that are rarer are not merged.

    Returns:
        Special tokens, characters (inside a word with `##` before them) in order, then pieces in order of merging.
    """
    pieces = {word: [word[0], *(PREFIX + character for character in word[1:])] for word in sorted(words) if word}
    vocabulary = [*special, *sorted({piece for parts in pieces.values() for piece in parts})]
    known = set(vocabulary)
    counts: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[str]] = defaultdict(set)
    for word, parts in pieces.items():
        for pair in pairwise(parts):
            counts[pair] += words[word]
            where[pair].add(word)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    while heap and len(vocabulary) < size:
        count, pair = heapq.heappop(heap)
        if -count != counts[pair]:
            continue
        if -count < least:
            break
        merged = pair[0] + pair[1].removeprefix(PREFIX)
        if merged not in known:
            known.add(merged)
            vocabulary.append(merged)
        changed = _merge(pair, merged, where.pop(pair), pieces, words, counts, where)
        for other in changed:
            if counts[other] > 0:
                heapq.heappush(heap, (-counts[other], other))
    return vocabulary


def _merge(
    pair: Pair,
    merged: str,
    affected: set[str],
    pieces: dict[str, list[str]],
    words: Mapping[str, int],
    counts: Counter[Pair],
    where: defaultdict[Pair, set[str]],
) -> set[Pair]:
    """Merge a pair in every word that has it, keep the counts right, and return the pairs whose count has changed."""
    changed: set[Pair] = set()
    for word in affected:
        before = pieces[word]
        after = _joined(before, pair, merged)
        pieces[word] = after
        for old in pairwise(before):
            counts[old] -= words[word]
            where[old].discard(word)
            changed.add(old)
        for new in pairwise(after):
            counts[new] += words[word]
            where[new].add(word)
            changed.add(new)
    return changed


def _joined(parts: list[str], pair: Pair, merged: str) -> list[str]:
    joined: list[str] = []
    position = 0
    while position < len(parts):
        if position + 1 < len(parts) and (parts[position], parts[position + 1]) == pair:
            joined.append(merged)
            position += 2
        else:
            joined.append(parts[position])
            position += 1
    return joined
