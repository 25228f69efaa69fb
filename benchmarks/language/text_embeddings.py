"""Embeddings of real reports compared: what each way of training a language model brings, against simple ones.

    .venv/bin/python benchmarks/language/real_reports.py ../shared/data stores/reports
    .venv/bin/python benchmarks/language/text_embeddings.py stores/reports results.jsonl

Trains on `train.jsonl`, measures on `test.jsonl`: findings -> impression among the distinct impressions (identical ones are
one), how spread the embeddings are, and a ridge probe of the 18 labels of the CT reports. One JSON line per model and seed;
models that the results file already has are not trained again. `--table` prints the Markdown table of a results file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lingula.core.files import read_json_lines
from lingula.data.text.normalise import normalise_text
from lingula.evaluation.bootstrap import bootstrap_interval
from lingula.evaluation.ranking import MEDIAN_RANK, Ranked, first_right
from lingula.models.text_config import LanguageModelConfig, SmallLanguageModelConfig
from lingula.models.text_encoder import TextEncoder
from lingula.training.language_model import report_texts
from lingula.training.report_pairs import report_pairs

Embed = Callable[[Sequence[str]], np.ndarray]
SECTIONS = ("findings", "impression", "text")
KS = (1, 5, 10)
BERT = {"layers": 1, "width": 128, "heads": 8, "sentence_pairs": 32, "sentence_tokens": 64}
"""A transformer small enough for one core."""

TRAINED: dict[str, dict[str, Any]] = {
    "ours: words matched (default)": {},
    "ours: as `small` trains it": SmallLanguageModelConfig().model_dump(),
    "ours: LSA start, nothing trained": {"word_steps": 0},
    "ours: BERT, masked LM only": BERT | {"word_steps": 0, "steps": 300, "sentence_steps": 0},
    "ours: BERT, masked LM, then matched": BERT | {"word_steps": 0, "steps": 300, "sentence_steps": 100},
    "ours: words matched, BERT, masked LM, matched": BERT | {"steps": 300, "sentence_steps": 100},
}
"""Name to what differs from the default of `lingula pretrain language-model`."""
SEEDS = 3


def embedder(encoder: TextEncoder) -> Embed:
    """Turn a text encoder into a function from texts to `texts features`."""
    import torch

    def embed(texts: Sequence[str]) -> np.ndarray:
        ids = encoder.token_ids(texts)
        features = np.empty((len(texts), encoder.dimension), np.float32)
        order = np.argsort([len(row) for row in ids])
        with torch.inference_mode():
            for start in range(0, len(order), 64):
                rows = order[start : start + 64]
                features[rows] = encoder(encoder.pad([ids[row] for row in rows])).numpy()
        return features

    return embed


def tf_idf(train: list[str], dimension: int | None) -> Embed:
    """TF-IDF of words, or its truncated SVD."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(sublinear_tf=True).fit(train)
    if dimension is None:
        return lambda texts: vectoriser.transform(texts).toarray().astype(np.float32)
    svd = TruncatedSVD(dimension, random_state=0).fit(vectoriser.transform(train))
    return lambda texts: svd.transform(vectoriser.transform(texts)).astype(np.float32)


def word_llama() -> Embed:
    """Mean of wordllama's bundled 256-d token embeddings, read from the package's own files (its loader wants a network)."""
    import wordllama
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    folder = Path(wordllama.__file__).parent
    words = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"].astype(np.float32)
    tokeniser = Tokenizer.from_file(str(folder / "tokenizers/l2_supercat_tokenizer_config.json"))
    return lambda texts: np.stack([words[tokeniser.encode(text, add_special_tokens=False).ids].mean(axis=0) for text in texts])


def random_bert(train: list[str], seed: int) -> Embed:
    """Mean over the tokens of a BERT (4 layers, 256 features) with random weights and a trained vocabulary."""
    import torch
    from transformers import BertConfig, BertModel

    from lingula.methods.tokeniser import train_tokeniser
    from lingula.models.text_pooling import Pooling

    tokeniser = train_tokeniser(train, LanguageModelConfig())
    torch.manual_seed(seed)
    sizes = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 1024}
    return embedder(TextEncoder(BertModel(BertConfig(vocab_size=len(tokeniser), **sizes)), tokeniser, Pooling(max_tokens=256)))


def unit(features: np.ndarray) -> np.ndarray:
    """Divide rows by their length."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def words_of(text: str) -> str:
    """Impressions that differ in case, stops or white space alone are identical."""
    return " ".join(text.lower().replace(".", " ").split())


def spread(features: np.ndarray) -> dict[str, float]:
    """Mean cosine of all pairs, and effective rank: the exponential of the entropy of the covariance's eigenvalues."""
    units, count = unit(features), len(features)
    cosine = (np.linalg.norm(units.sum(axis=0)) ** 2 - count) / (count * (count - 1))
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False).astype(float) ** 2
    shares = values[values > 0] / values.sum()
    return {"mean cosine": float(cosine), "effective rank": float(np.exp(-(shares * np.log(shares)).sum()))}


def retrieval(embed: Embed, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Findings -> impression among distinct impressions, with bootstrap intervals over reports; also for rare impressions."""
    pairs = [report for report in reports if "findings" in report and "impression" in report]
    asked = [words_of(report["impression"]) for report in pairs]
    gallery = {key: report["impression"] for key, report in zip(asked, pairs, strict=True)}
    similarity = unit(embed([report["findings"] for report in pairs])) @ unit(embed(list(gallery.values()))).T
    values = first_right(similarity, np.array([[key == other for other in gallery] for key in asked]), KS)
    once = np.array([asked.count(key) == 1 for key in asked])
    result: dict[str, Any] = {"queries": len(pairs), "impressions": len(gallery), "rare queries": int(once.sum())}
    for prefix, chosen in (("", np.ones(len(pairs), bool)), ("rare ", once)):
        names = [str(number) for number in np.flatnonzero(chosen)]
        ranked = Ranked(names, names, {name: value[chosen] for name, value in values.items()}, {})
        for name, *ends in zip(values, *bootstrap_interval(ranked.measure, names, 1000, 0), strict=True):
            result[prefix + name] = [round(float(end), 4) for end in ends]
    return result | spread(embed([report["findings"] for report in pairs]))


def probe(embed: Embed, train: list[dict[str, Any]], test: list[dict[str, Any]]) -> float:
    """Macro AUROC of a ridge regression from CT reports to their labels."""
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import roc_auc_score

    train, test = ([report for report in part if "labels" in report] for part in (train, test))
    before, now = (embed([report["text"] for report in part]) for part in (train, test))
    labels, truth = (np.array([report["labels"] for report in part]) for part in (train, test))
    mean, deviation = before.mean(axis=0), before.std(axis=0) + 1e-6
    model = RidgeCV(alphas=np.logspace(0, 4, 9)).fit((before - mean) / deviation, labels)
    scores = model.predict((now - mean) / deviation)
    return float(np.mean([roc_auc_score(truth[:, label], scores[:, label]) for label in range(truth.shape[1])]))


def train_model(reports: list[dict[str, str]], changes: dict[str, Any], seed: int) -> Embed:
    """Train one of our models."""
    from lingula.methods.language_model import train_language_model

    config = LanguageModelConfig(**changes)
    return embedder(train_language_model(report_texts(reports), config, seed, pairs=report_pairs(reports, seed)))


def main(folder: Path, results: Path) -> None:
    """Measure every model that the results file does not have yet."""
    train, test = (read_json_lines(folder / f"{split}.jsonl") for split in ("train", "test"))
    reports = [{name: normalise_text(report[name]) for name in SECTIONS if name in report} for report in train]
    parts = [text for report in reports for text in report.values()]
    jobs: list[tuple[str, int, Callable[[], Embed]]] = [
        ("TF-IDF", 0, lambda: tf_idf(parts, None)),
        ("LSA, 256 of TF-IDF", 0, lambda: tf_idf(parts, 256)),
        ("wordllama 256", 0, word_llama),
        *(("random BERT", seed, lambda s=seed: random_bert(parts, s)) for seed in range(SEEDS)),
    ]
    for seed in range(SEEDS):
        jobs += [(name, seed, lambda c=changes, s=seed: train_model(reports, c, s)) for name, changes in TRAINED.items()]
    done = {(entry["model"], entry["seed"]) for entry in read_json_lines(results)}
    for name, seed, make in jobs:
        if (name, seed) in done:
            continue
        begun, busy = time.monotonic(), time.process_time()
        embed = make()
        times = {"seconds": round(time.monotonic() - begun, 1), "core seconds": round(time.process_time() - busy, 1)}
        entry = {"model": name, "seed": seed, **times, **retrieval(embed, test), "ct probe": probe(embed, train, test)}
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        print(entry, flush=True)


def table(results: Path) -> None:
    """Print the Markdown table: seed 0 with its intervals, and the spread over seeds where there are several."""
    entries = read_json_lines(results)
    names = ("recall@1", "recall@5", "recall@10", MEDIAN_RANK, "rare recall@1", "rare recall@10")
    print("| model | " + " | ".join(names) + " | mean cosine | effective rank | CT probe | core s |")
    print("| --- " * (len(names) + 5) + "|")
    for model in dict.fromkeys(entry["model"] for entry in entries):
        seeds = [entry for entry in entries if entry["model"] == model]
        cells = []
        for name in names:
            values, (_, low, high) = [entry[name][0] for entry in seeds], seeds[0][name]
            digits = 1 if name == MEDIAN_RANK else 3
            spread_of = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread_of} [{low:.{min(digits, 2)}f}, {high:.{min(digits, 2)}f}]")
        for name, digits in (("mean cosine", 2), ("effective rank", 0), ("ct probe", 3), ("core seconds", 0)):
            values = [entry[name] for entry in seeds]
            ends = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 and name == "ct probe" else ""
            cells.append(f"{np.mean(values):.{digits}f}{ends}")
        seeds_said = f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""
        print(f"| {model}{seeds_said} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        table(given.results)
    else:
        main(given.folder, given.results)
