"""Tokens that go through a text encoder for real reports: padded to 512, to the longest of a random batch, and by length.

.venv/bin/python benchmarks/language/padding.py stores/reports
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from lingula.core.files import read_json_lines
from lingula.methods.tokeniser import train_tokeniser
from lingula.models.text_cache import BATCH_TOKENS, _batches
from lingula.models.text_config import LanguageModelConfig

LONGEST, BATCH = 512, 64


def main(folder: Path) -> None:
    """Print the shares."""
    entries = [entry for split in ("train", "val", "test") for entry in read_json_lines(folder / f"{split}.jsonl")]
    texts = [" ".join(entry[name] for name in ("findings", "impression", "text") if name in entry) for entry in entries]
    tokeniser = train_tokeniser(texts, LanguageModelConfig())
    whole = [len(encoding.ids) for encoding in tokeniser.backend_tokenizer.encode_batch_fast(texts)]
    lengths = [min(length, LONGEST) for length in whole]
    shuffled = random.Random(0).sample(lengths, len(lengths))
    parts = [shuffled[start : start + BATCH] for start in range(0, len(shuffled), BATCH)]
    real = sum(lengths)
    for name, padded in (
        (f"padded to {LONGEST}", LONGEST * len(lengths)),
        (f"random batches of {BATCH}", sum(max(part) * len(part) for part in parts)),
        (
            f"by length, {BATCH_TOKENS} tokens a batch",
            sum(max(lengths[r] for r in rows) * len(rows) for rows in _batches(lengths)),
        ),
    ):
        print(f"{name:<40} {padded:>10,} tokens, {padded / real:.2f} times the {real:,} real ones")
    print(f"longer than {LONGEST}: {sum(length > LONGEST for length in whole)} of {len(whole)} reports")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
