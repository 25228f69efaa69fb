"""What a task leaves behind: numbers with intervals, the protocol, and the predictions they come from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PrivateAttr

from lingula.core.config import Config
from lingula.core.errors import UserError
from lingula.core.files import atomic_file, read_json, write_json
from lingula.evaluation.pictures import Picture, save_pictures

if TYPE_CHECKING:
    import pyarrow as pa

RESULT = "result.json"
PREDICTIONS = "predictions.parquet"
CLASSIFICATION = ("zero-shot", "probe", "token-probe", "fine-tune", "supervised")
"""Tasks that score findings in images."""
RANKING = ("retrieve",)
"""Tasks that rank a gallery."""
MASKS = ("segment",)
"""Tasks that compare masks."""


class ResultRow(Config):
    """One number."""

    metric: str
    label: str = ""
    """Finding, or `macro` for the mean over findings; empty where the metric has none."""
    setting: str = ""
    """Variant of the task: fraction of labels, direction of retrieval."""
    subgroup: str = "all"
    """Which patients, e.g. `sex: F`."""
    value: float | None = None
    low: float | None = None
    """Low end of the 95 % bootstrap interval over patients."""
    high: float | None = None
    n: int = 0
    """Images (queries) behind the number."""
    positives: int | None = None
    chance: float | None = None
    """What a model that knows nothing gets, computed exactly for these labels and this gallery."""


class TaskResult(Config):
    """The result of one task for one encoder on one store."""

    task: str
    encoder: str
    encoder_fingerprint: str
    store: str
    store_fingerprint: str
    split: str
    phantom: bool = False
    """Whether the patients are synthetic."""
    rows: list[ResultRow]
    notes: list[str] = Field(default_factory=list)
    protocol: dict[str, Any] = Field(default_factory=dict)
    """The numbers that define the task: filters, fractions, gallery, prompts, seed."""
    _predictions: pa.Table | None = PrivateAttr(default=None)
    _pictures: Sequence[Picture] | None = PrivateAttr(default=None)
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def has_intervals(self) -> bool:
        """Whether any number has an interval."""
        return any(row.low is not None for row in self.rows)

    def with_predictions(self, predictions: pa.Table) -> TaskResult:
        """Attach the predictions; they are saved beside the numbers."""
        self._predictions = predictions
        return self

    def with_pictures(self, pictures: Sequence[Picture]) -> TaskResult:
        """Attach pictures for the report page; they are saved beside the numbers, in the place of earlier ones."""
        self._pictures = pictures
        return self

    @property
    def predictions(self) -> pa.Table:
        """The predictions, read from the result's folder when they are first asked for.

        Raises:
            UserError: They were deleted.
        """
        if self._predictions is None:
            import pyarrow.parquet as pq

            path = (self._folder or Path()) / PREDICTIONS
            if not path.is_file():
                raise UserError(f"no predictions at {path}", "Run lingula evaluate again for this task.")
            self._predictions = pq.read_table(path)
        return self._predictions

    def save(self, folder: Path) -> None:
        """Write `result.json`, `predictions.parquet` and `pictures`, each whole or not at all."""
        import pyarrow.parquet as pq

        if self._predictions is not None:
            with atomic_file(folder / PREDICTIONS) as temporary:
                pq.write_table(self._predictions, temporary, compression="zstd")
        if self._pictures is not None:
            save_pictures(folder, self._pictures)
        write_json(folder / RESULT, self.model_dump(mode="json"))
        self._folder = folder

    @classmethod
    def load(cls, folder: Path) -> TaskResult:
        """Read a saved result.

        Raises:
            UserError: It is missing or was written by another version.
        """
        path = folder / RESULT
        if not path.is_file():
            raise UserError(f"no result at {path}", "Run lingula evaluate first.")
        result = cls.from_values(read_json(path), str(path))
        result._folder = folder
        return result

    def find(self, metric: str, label: str = "", setting: str = "", subgroup: str = "all") -> ResultRow | None:
        """Return the row of a metric, or None."""
        wanted = (metric, label, setting, subgroup)
        return next((row for row in self.rows if (row.metric, row.label, row.setting, row.subgroup) == wanted), None)

    @property
    def settings(self) -> list[str]:
        """The task's settings, in the order in which they were run."""
        return list(dict.fromkeys(row.setting for row in self.rows))


def number(value: float) -> float | None:
    """Turn an undefined number into None, which JSON can hold."""
    return float(value) if math.isfinite(value) else None
