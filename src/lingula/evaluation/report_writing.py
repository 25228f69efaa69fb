"""Reports about stored volumes: written by a model, fetched from the nearest training volume, or always the same one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lingula.core.progress import ProgressBar
from lingula.core.randomness import random_generator
from lingula.core.types import RowNumbers, Volumes, VolumeTokens
from lingula.data.text.rejoin import rejoin_words
from lingula.data.volume_store import VolumeStore
from lingula.evaluation.arrays import EncodedLatents
from lingula.evaluation.generate_config import GenerateConfig, WayName
from lingula.evaluation.volume_encoder import ReportWriter
from lingula.models.report_search import ReportMarks, write_beam, write_greedy, write_sampled


@dataclass(frozen=True)
class Seen:
    """Volumes as a writer's tower sees them.

    Args:
        tokens: `batch tokens features`.
        pooled: `batch latent`, unit vectors.
    """

    tokens: VolumeTokens
    pooled: Tensor


def way_name(way: WayName, config: GenerateConfig) -> str:
    """Write how reports are written.

    >>> way_name("beam", GenerateConfig())
    'beam of 4'
    """
    sampled = f"drawn, temperature {config.temperature:g}, top-p {config.top_p:g}"
    return {"greedy": "greedy", "beam": f"beam of {config.beams}", "sample": sampled}[way]


def marks_of(writer: ReportWriter, config: GenerateConfig) -> ReportMarks:
    """Return what the tokens of a writer mean, and how long its reports may be."""
    tokeniser, places = writer.words.tokeniser, writer.decoder.config.max_tokens
    never = (tokeniser.pad_token_id, tokeniser.cls_token_id, tokeniser.unk_token_id, tokeniser.mask_token_id)
    known = tuple(number for number in never if number is not None)
    return ReportMarks(tokeniser.cls_token_id, tokeniser.sep_token_id, known, min(config.max_tokens or places, places))


def write_reports(
    writer: ReportWriter, store: VolumeStore, rows: RowNumbers, config: GenerateConfig, seed: int
) -> tuple[dict[WayName, list[str]], EncodedLatents]:
    """Write a report about every volume, in every way asked for.

    Args:
        writer: The model's parts.
        store: The volumes.
        rows: Which.
        config: The ways, and their numbers.
        seed: Decides the words that are drawn; those of a volume depend on it and on the volume's name alone.

    Returns:
        Way to its texts, and the volumes' pooled vectors, `rows latent`, L2-normalised.
    """
    marks, ids = marks_of(writer, config), store.column("row_id")
    texts: dict[WayName, list[str]] = {way: [] for way in config.way}
    latents = []
    for some, seen in see_volumes(writer, store, rows, config.batch, "writing reports"):
        latents.append(seen.pooled.cpu().numpy())
        for way in config.way:
            if way == "greedy":
                written = write_greedy(writer.decoder, seen.tokens, marks)
            elif way == "beam":
                written = write_beam(writer.decoder, seen.tokens, marks, config.beams, config.length_penalty)
            else:
                draws = np.stack([random_generator("report", seed, str(ids[row])).random(marks.limit) for row in some])
                written = write_sampled(writer.decoder, seen.tokens, marks, config.temperature, config.top_p, draws)
            texts[way] += [rejoin_words(writer.words.tokeniser.decode(report, skip_special_tokens=True)) for report in written]
    return texts, np.concatenate(latents)


def see_volumes(
    writer: ReportWriter, store: VolumeStore, rows: RowNumbers, batch: int, doing: str
) -> Iterator[tuple[list[int], Seen]]:
    """Encode volumes as evaluation sees them, some at a time; whole volumes, which differ in size, one by one."""
    size = 1 if writer.crop.config.evaluation == "whole" else batch
    device = next(writer.decoder.parameters()).device
    with ProgressBar(doing, len(rows)) as bar:
        for start in range(0, len(rows), size):
            some = [int(row) for row in rows[start : start + size]]
            with torch.inference_mode():
                shown = writer.crop.evaluate(store, some).to(device)
                features = writer.tower.features(shown, _window(writer, shown))
                pooled = torch.nn.functional.normalize(writer.tower.pooled(features).float(), dim=1)
            yield some, Seen(features.flatten(2).transpose(1, 2), pooled)
            bar.advance(len(some))


def _window(writer: ReportWriter, shown: Volumes) -> tuple[int, int, int] | None:
    """The writer's window, but no larger than the volume."""
    if writer.window is None:
        return None
    x, y, z = (min(side, there) for side, there in zip(writer.window, shown.shape[2:], strict=True))
    return x, y, z


def nearest_reports(
    writer: ReportWriter, store: VolumeStore, train: RowNumbers, texts: Sequence[str], latents: EncodedLatents, batch: int
) -> list[str]:
    """Return for each vector the report of the training volume whose pooled vector is nearest by cosine.

    Args:
        writer: The model's parts.
        store: The volumes.
        train: Training volumes with text.
        texts: Their reports.
        latents: `rows latent`, L2-normalised.
        batch: Volumes encoded at once.
    """
    known = [seen.pooled.cpu().numpy() for _, seen in see_volumes(writer, store, train, batch, "encoding training volumes")]
    nearest = (latents @ np.concatenate(known).T).argmax(axis=1)
    return [texts[number] for number in nearest]


def most_frequent(texts: Sequence[str]) -> tuple[str, int]:
    """Return the text that occurs most often, letter case and spaces aside, and how often; of several the first.

    >>> most_frequent(["Edema.", "Clear lungs.", "clear  lungs."])
    ('Clear lungs.', 2)
    """
    keys = [" ".join(text.lower().split()) for text in texts]
    key, count = Counter(keys).most_common(1)[0]
    return texts[keys.index(key)], count
