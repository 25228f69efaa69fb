"""A study: one examination with its images, its report and what is known to be in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from pydantic import Field

from lingula.core.config import Config
from lingula.core.types import Pixels, RegionMask, VolumeMask
from lingula.data.text.sections import SEPARATOR
from lingula.data.volume_reader import Volume

Projection = Literal["PA", "AP", "lateral", "CT", "unknown"]
Split = Literal["train", "val", "test"]
PlaneBox: TypeAlias = tuple[float, float, float, float]
SpaceBox: TypeAlias = tuple[float, float, float, float, float, float]


class ImageReference(Config):
    """One image of a study, by path; pixels are read only when a store is prepared."""

    path: str
    """File path, or an address that the source itself reads (the phantom uses `phantom:`)."""
    modality: Literal["radiograph", "ct"] = "radiograph"
    projection: Projection = "unknown"


class Report(Config):
    """The text of a study, in sections."""

    sections: dict[str, str]
    """Lower-case section name to text, in reading order; free text without sections is `text`."""

    @property
    def text(self) -> str:
        """All sections in order, a blank line between them."""
        return SEPARATOR.join(part.strip() for part in self.sections.values() if part.strip())


class Region(Config):
    """Where a finding (or an anatomical part) lies in one image, as a box; a mask travels with the pixels."""

    finding: str
    box: PlaneBox | SpaceBox
    """x1, y1, x2, y2 in pixels of the image as read (columns grow to the right, rows downwards); of a volume x1, y1, z1, x2, y2,
    z2 in voxels as read, along its axes. Both are measured at the outer edges: the first pixel reaches from 0 to 1."""
    kind: str = ""
    """anatomy, pathology or device, where the source says so."""
    mask: str | None = None
    """Path of a binary mask of the image's own size (PNG; of a volume NIfTI); the source's `read` returns such a region with
    mask and true box."""
    phrase: str = ""
    """The words of the report that name it."""
    sentence_index: int | None = None
    """Which sentence of the report says so, counted from 0."""
    image_index: int = 0
    """Which image of the study it belongs to."""


class Study(Config):
    """One examination: images + report + labels of one patient visit."""

    study_id: str
    patient_id: str
    images: list[ImageReference]
    report: Report | None = None
    labels: dict[str, Literal[1, 0, -1] | None] = Field(default_factory=dict)
    """Finding to 1 present, 0 absent, -1 uncertain, None not mentioned."""
    regions: list[Region] = Field(default_factory=list)
    split: Split | None = None
    licence: str = ""
    extra: dict[str, str] = Field(default_factory=dict)
    """Whatever else is known (sex, age, source), as text."""


class Picture:
    """The pixels of one image as read, with the regions that only reading reveals.

    Args:
        pixels: Grey values, `height width`, uint8 or uint16, bright is dense.
        regions: Regions known from the pixels' own origin (the phantom projects its findings).
        masks: One optional binary mask per region, of the image's size.
        problems: Path and reason of whatever belongs to the image but could not be read (a mask); it is quarantined.
        extra: What the image's own header says (sex, age, view), where the study does not say it.
        projection: As the header says it, where the study does not know it.
    """

    def __init__(
        self,
        pixels: Pixels,
        regions: list[Region] | None = None,
        masks: list[RegionMask | None] | None = None,
        problems: list[tuple[str, str]] | None = None,
        extra: dict[str, str] | None = None,
        projection: Projection = "unknown",
    ) -> None:
        self.pixels: Pixels = np.ascontiguousarray(pixels)
        self.regions = regions or []
        self.masks: list[RegionMask | None] = masks if masks is not None else [None] * len(self.regions)
        self.problems = problems or []
        self.extra = extra or {}
        self.projection = projection


class Scan:
    """The voxels of one CT volume as read, with the regions that only reading reveals.

    Args:
        volume: Hounsfield units, in any orientation and spacing.
        regions: Regions known from the voxels' own origin, boxes in voxels of this volume.
        masks: One optional binary mask per region, `x y z`, of the volume's shape.
        problems: Path and reason of whatever belongs to the volume but could not be read (a mask); it is quarantined.
    """

    def __init__(
        self,
        volume: Volume,
        regions: list[Region] | None = None,
        masks: list[VolumeMask | None] | None = None,
        problems: list[tuple[str, str]] | None = None,
    ) -> None:
        self.volume = volume
        self.regions = regions or []
        self.masks: list[VolumeMask | None] = masks if masks is not None else [None] * len(self.regions)
        self.problems = problems or []


class Source(Protocol):
    """A data set in its published layout: an iterable of studies, plus a reader for its images.

    A source is pickled to worker processes, so it holds paths and numbers, never open files.
    """

    name: str
    citation: str
    licence: str

    def __iter__(self) -> Iterator[Study]:
        """Yield every study, always in the same order."""
        ...

    def __len__(self) -> int: ...

    def read(self, study: Study, image_index: int) -> Picture | Scan:
        """Read one image of a study; all of a source are pictures, or all are scans.

        Raises:
            UnreadableImage: The file is broken; the item is quarantined and preparation goes on.
        """
        ...

    def settings(self) -> dict[str, object]:
        """Return everything that determines the studies, as plain values, for the store's fingerprint."""
        ...


@runtime_checkable
class DivisibleSource(Protocol):
    """A source that knows much about all of its images, and can do with what a few studies need."""

    def part(self, studies: Sequence[Study]) -> Source:
        """Return a source that can read the images of these studies."""
        ...


def part_of(source: Source, studies: Sequence[Study]) -> Source:
    """Return what of a source has to travel to a worker that reads these studies."""
    return source.part(studies) if isinstance(source, DivisibleSource) else source
