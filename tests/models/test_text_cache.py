"""The cache of text features: fresh, complete, shared, and faithful to the encoder."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lingula.core.batch import Tokens
from lingula.core.errors import UserError
from lingula.methods.language_model import train_language_model
from lingula.models import text_cache
from lingula.models.text_cache import TextCache
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder, load_text_encoder

TEXTS = [f"{amount} {finding}." for amount in ("no", "small left", "right", "both") for finding in ("effusion", "mass")]
TEXTS += [" ".join(TEXTS[:3]), "heart", ""]
TINY = SmallLanguageModelConfig(vocabulary=80, layers=1, width=16, heads=2, max_tokens=32, steps=2, batch_tokens=64)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "text"
    train_language_model(TEXTS, TINY, seed=0, progress=False).save(folder)
    return folder


@pytest.fixture
def encoder(saved: Path) -> TextEncoder:
    return load_text_encoder(saved)


def direct(encoder: TextEncoder, texts: list[str]) -> torch.Tensor:
    return torch.cat([encoder(encoder.tokenise([text])) for text in texts])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 1e-2)])
def test_lookup_equals_direct_encoding_in_any_order(encoder: TextEncoder, tmp_path: Path, dtype: str, tolerance: float) -> None:
    cache = TextCache(tmp_path, encoder, dtype=dtype)  # type: ignore[arg-type]
    assert cache.fill(TEXTS + TEXTS[::-1], progress=False) == len(TEXTS)
    asked = [*TEXTS[::-1], TEXTS[3], TEXTS[3]]
    found = cache.lookup(asked)
    assert found.dtype == torch.float32
    assert found.shape == (len(asked), encoder.dimension)
    torch.testing.assert_close(found, direct(encoder, asked), atol=tolerance, rtol=tolerance)


def test_a_text_is_encoded_once_even_in_another_process_later(encoder: TextEncoder, tmp_path: Path) -> None:
    TextCache(tmp_path, encoder).fill(TEXTS[:4], progress=False)
    again = TextCache(tmp_path, encoder)
    assert len(again) == 4
    assert again.fill(TEXTS, progress=False) == len(TEXTS) - 4
    assert again.fill(TEXTS, progress=False) == 0
    torch.testing.assert_close(again.lookup(TEXTS), direct(encoder, TEXTS), atol=1e-2, rtol=1e-2)


def test_a_cache_opened_earlier_sees_what_another_wrote(encoder: TextEncoder, tmp_path: Path) -> None:
    early, late = TextCache(tmp_path, encoder), TextCache(tmp_path, encoder)
    late.fill(TEXTS, progress=False)
    assert early.lookup(TEXTS).shape == (len(TEXTS), encoder.dimension)


def test_a_changed_model_never_reads_the_old_features(encoder: TextEncoder, saved: Path, tmp_path: Path) -> None:
    cache = TextCache(tmp_path, encoder)
    cache.fill(TEXTS, progress=False)
    with torch.no_grad():
        next(encoder.model.parameters()).add_(0.01)
    with pytest.raises(RuntimeError, match="changed"):
        cache.lookup(TEXTS)
    with pytest.raises(RuntimeError, match="changed"):
        cache.fill(TEXTS, progress=False)
    assert len(TextCache(tmp_path, encoder)) == 0
    assert len(TextCache(tmp_path, load_text_encoder(saved))) == len(TEXTS)


def test_a_changed_tokeniser_never_reads_the_old_features(encoder: TextEncoder, saved: Path, tmp_path: Path) -> None:
    TextCache(tmp_path, encoder).fill(TEXTS, progress=False)
    other = load_text_encoder(saved)
    other.tokeniser.add_tokens(["effusion mass"])
    assert len(TextCache(tmp_path, other)) == 0


def test_a_crash_between_parts_keeps_the_parts_before_it(
    encoder: TextEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_cache, "PART_TEXTS", 3)
    cache = TextCache(tmp_path, encoder)
    whole, calls = np.save, []

    def broken(file: Path, array: np.ndarray) -> None:
        calls.append(file)
        if len(calls) == 4:
            raise OSError("disk full")
        whole(file, array)

    monkeypatch.setattr(np, "save", broken)
    with pytest.raises(OSError, match="disk full"):
        cache.fill(TEXTS, progress=False)
    monkeypatch.setattr(np, "save", whole)
    (cache.path / ".part-killed.1.partial").mkdir()
    (cache.path / ".part-killed.1.partial" / "features.npy").write_bytes(b"half")
    again = TextCache(tmp_path, encoder)
    assert len(again) == 3
    assert again.fill(TEXTS, progress=False) == len(TEXTS) - 3
    torch.testing.assert_close(again.lookup(TEXTS), direct(encoder, TEXTS), atol=1e-2, rtol=1e-2)


class Lengths(TextEncoder):
    """Stands in for an encoder where other processes need one at once: the features of "7" are 7, 7, 7."""

    dimension, statistics, frozen, device = 3, None, True, torch.device("cpu")  # type: ignore[assignment]

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)

    def fingerprint(self) -> str:
        return "lengths"

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(text)] for text in texts]

    def pad(self, ids: Sequence[Sequence[int]]) -> Tokens:
        return Tokens(torch.tensor(ids), torch.ones(len(ids), 1, dtype=torch.bool))

    def forward(self, tokens: Tokens) -> torch.Tensor:
        return tokens.ids.float().repeat(1, 3)

    def warn_of_cut_texts(self) -> None: ...


def numbers(start: int, stop: int) -> list[str]:
    return [str(number) for number in range(start, stop)]


FILL = f"""
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("tests_of_the_cache", {__file__!r})
here = importlib.util.module_from_spec(spec)
spec.loader.exec_module(here)
here.text_cache.PART_TEXTS = 5
here.TextCache(Path(sys.argv[1]), here.Lengths()).fill(here.numbers(*map(int, sys.argv[2:])), progress=False)
"""


def test_two_processes_fill_the_same_cache(tmp_path: Path) -> None:
    ranges = [("0", "300"), ("200", "500")]
    running = [subprocess.Popen([sys.executable, "-c", FILL, str(tmp_path), *ends]) for ends in ranges]
    assert [process.wait(timeout=250) for process in running] == [0, 0]
    cache = TextCache(tmp_path, Lengths())
    assert cache.fill(numbers(0, 500), progress=False) == 0
    assert cache.lookup(numbers(0, 500))[:, 2].tolist() == list(range(500))


def test_a_text_that_was_never_filled_is_named(encoder: TextEncoder, tmp_path: Path) -> None:
    cache = TextCache(tmp_path, encoder)
    cache.fill(TEXTS, progress=False)
    with pytest.raises(RuntimeError, match=r"not in the cache .* 'unheard of'"):
        cache.lookup(["heart", "unheard of"])
    assert cache.lookup([]).shape == (0, encoder.dimension)


def test_a_broken_part_is_a_user_error(encoder: TextEncoder, tmp_path: Path) -> None:
    cache = TextCache(tmp_path, encoder)
    cache.fill(TEXTS, progress=False)
    (next(cache.path.glob("part-*")) / "features.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match="broken"):
        TextCache(tmp_path, encoder)


def test_a_trained_encoder_cannot_be_cached(encoder: TextEncoder, tmp_path: Path) -> None:
    encoder.frozen = False
    with pytest.raises(ValueError, match="frozen"):
        TextCache(tmp_path, encoder)


def test_looking_up_a_batch_is_fast(encoder: TextEncoder, tmp_path: Path) -> None:
    texts = [f"effusion {n}" for n in range(128)]
    cache = TextCache(tmp_path, encoder)
    cache.fill(texts, progress=False)
    cache.lookup(texts)
    spent = []
    for _ in range(20):
        begun = time.process_time()
        cache.lookup(texts)
        spent.append(time.process_time() - begun)
    assert min(spent) < 2e-3
