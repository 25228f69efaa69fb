"""What was published for a protocol, beside what a run reaches here."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from lingula.data.splits import SPLITS
from lingula.data.store import Store
from lingula.data.store_table import StoreTable
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.protocols.protocol import Protocol, departures, protocol_of
from lingula.evaluation.result import ResultRow, TaskResult
from lingula.evaluation.tasks.fractions import fraction_name

PEERS = 4
"""How many other methods a line names."""


@dataclass(frozen=True)
class Published:
    """One number of `published.csv`.

    Args:
        protocol: `SYSTEM/TASK/DATASET`.
        method: Whose number it is.
        fraction: Share of labels; None where nothing is trained.
        metric: As published.
        value: In per cent.
        spread: What stands behind ± there, in per cent; empty: nothing.
        source: Where it is printed.
    """

    protocol: str
    method: str
    fraction: float | None
    metric: str
    value: float
    spread: str
    source: str


@cache
def published_numbers() -> tuple[Published, ...]:
    """Return every number that we know to be published, each with its source."""
    text = files(__package__).joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(
            protocol=row["protocol"],
            method=row["method"],
            fraction=float(row["fraction"]) if row["fraction"] else None,
            metric=row["metric"],
            value=float(row["value"]),
            spread=row["spread"],
            source=row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )


def published_for(name: str, fraction: float | None, metric: str) -> list[Published]:
    """Return what is published for a protocol, one fraction and one metric, its own method first, then the best.

    Raises:
        UserError: There is no such protocol.
    """
    protocol = protocol_of(name)
    table = name if protocol.numbers is None else protocol.numbers
    found = [each for each in published_numbers() if (each.protocol, each.fraction, each.metric) == (table, fraction, metric)]
    return sorted(found, key=lambda each: (each.method != protocol.method, -each.value))


def side_by_side(result: TaskResult, config: EvaluateConfig) -> list[str]:
    """Write, for every published metric and fraction, `published: 70.9 · here: 65.2 [61.0, 69.1]`, in per cent."""
    protocol = protocol_of(config.protocol)
    lines = []
    for fraction in config.fraction if protocol.fractions else (None,):
        share = "" if fraction is None else fraction_name(fraction)
        for metric, keys in protocol.rows.items():
            rows = [(key.metric, result.find(key.metric, key.label, key.setting.format(fraction=share))) for key in keys]
            where = ", ".join(part for part in (config.protocol, share, metric) if part)
            found = published_for(config.protocol, fraction, metric)
            lines.append(" · ".join([f"{where}: {_published(protocol, found)}", _here(rows), *_peers(protocol, found)]))
    return lines


def caveats(store: StoreTable, config: EvaluateConfig, about: dict[str, Any]) -> list[str]:
    """Write what keeps a number from being the protocol's: data set, split, sizes, image size, options, and what ours does.

    Args:
        store: The store that is evaluated on.
        config: The evaluation.
        about: Content of the store's `store.json`.
    """
    protocol = protocol_of(config.protocol)
    said = list(_store_caveats(store, protocol, about))
    if protocol.differs:
        said.append(f"here: {protocol.differs}")
    if changed := departures(config, protocol):
        said.append(f"other options than the protocol's: {', '.join(changed)}")
    if not protocol.rows:
        said.append("nothing that is measured here is comparable with the published metric")
    return [f"{config.protocol}: {line}" for line in said]


def _store_caveats(store: StoreTable, protocol: Protocol, about: dict[str, Any]) -> Iterator[str]:
    if store.name != protocol.dataset:
        yield f"the store holds {store.name}, the protocol is of {protocol.dataset}: NOT COMPARABLE"
        return
    split = about["settings"]["source_settings"].get("split", "unknown")
    if split != protocol.split:
        yield f"the store is split by '{split}', the protocol by '{protocol.split}'"
    held = tuple(about["counts"][name]["images"] for name in SPLITS)
    if protocol.sizes is not None and held != protocol.sizes:
        there, here = (" / ".join(f"{count:,}" for count in counts) for counts in (protocol.sizes, held))
        yield f"{here} images in train, val and test, the protocol has {there}"
    if isinstance(store, Store) and isinstance(protocol.image_size, int) and store.size != protocol.image_size:
        yield f"images are stored at {store.size} pixels, the protocol has {protocol.image_size}"


def _published(protocol: Protocol, found: Sequence[Published]) -> str:
    own = next((each for each in found if each.method == protocol.method), None)
    return "published: not known to us" if own is None else f"published: {own.value:g}{_spread(own)} ({own.method})"


def _peers(protocol: Protocol, found: Sequence[Published]) -> list[str]:
    others = [f"{each.method} {each.value:g}" for each in found if each.method != protocol.method][:PEERS]
    return [f"best others: {', '.join(others)}"] if others else []


def _spread(number: Published) -> str:
    return f" ± {number.spread}" if number.spread else ""


def _here(rows: Sequence[tuple[str, ResultRow | None]]) -> str:
    (_, first), *others = rows
    said = [f"here: {_percent(first)}", *(f"{name} {_percent(row)}" for name, row in others)]
    return "; ".join(said)


def _percent(row: ResultRow | None) -> str:
    if row is None or row.value is None:
        return "–"
    ends = "" if row.low is None or row.high is None else f" [{100 * row.low:.1f}, {100 * row.high:.1f}]"
    return f"{100 * row.value:.1f}{ends}"
