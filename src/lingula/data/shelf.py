"""Where the images of one shard are put, one after the other, whatever their kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from lingula.data.study import Picture, Region, Scan, Study

Record = dict[str, Any]
Problem = tuple[str, str]
"""Path and reason of what had to be left out."""


class Shelf(ABC):
    """Takes the images of a shard and keeps their rows of the index.

    Args:
        folder: Where the shard is written.
    """

    schema: ClassVar[pa.Schema]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[Record] = []

    @abstractmethod
    def add(self, study: Study, number: int, image: Picture | Scan) -> list[Problem]:
        """Store one image as the next row; return what of its regions had to be left out.

        Raises:
            UnreadableImage: The image cannot be stored; nothing of it is.
        """

    @abstractmethod
    def close(self) -> list[str]:
        """Write what is not written yet; return the paths of the files, relative to the shard."""

    def _keep(self, study: Study, number: int, regions: Sequence[Record], geometry: Record, sha256: str) -> None:
        """Keep the row of an image."""
        reference = study.images[number]
        self.records.append(
            {
                "row_id": f"{study.study_id}:{number}",
                "study_id": study.study_id,
                "image_index": number,
                "patient_id": study.patient_id,
                "split": study.split,
                "modality": reference.modality,
                "projection": reference.projection,
                "sections": list(study.report.sections.items()) if study.report else [],
                "labels": list(study.labels.items()),
                "regions": regions,
                **geometry,
                "pixel_sha256": sha256,
                "path": reference.path,
                "licence": study.licence,
                "extra": list(study.extra.items()),
            }
        )


def region_record(region: Region, box: Sequence[float], mask: Any) -> Record:
    """Return a region as the index holds it; the box has a corner's coordinates before the other's."""
    axes = "xyz"[: len(box) // 2]
    names = [f"{axis}{end}" for end in (1, 2) for axis in axes]
    return {
        "finding": region.finding,
        "kind": region.kind,
        **dict(zip(names, box, strict=True)),
        "mask": mask,
        "phrase": region.phrase,
        "sentence_index": region.sentence_index,
    }
