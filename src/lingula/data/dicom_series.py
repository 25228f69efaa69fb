"""CT volumes from the slices of a DICOM series; what is wrong with one is said, never mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from lingula.core.errors import UserError
from lingula.data.dicom import damage, read_slice
from lingula.data.readers import UnreadableImage
from lingula.data.volume_reader import FLIP, LARGEST_SKEW, Volume

SAME = 1e-3
"""mm, or cosines: what is less apart is the same."""
UNEVEN = 0.1
"""Share of the usual step between slices by which one may differ: positions are rounded in headers."""


@dataclass(frozen=True)
class Slice:
    """One slice of a series.

    Args:
        values: `rows columns`, Hounsfield units.
        position: Centre of the first pixel, mm, LPS+.
        along: Directions in which columns and rows are counted, `2 3`, LPS+.
        spacing: Distance between rows and between columns, mm.
    """

    values: np.ndarray
    position: NDArray[np.float64]
    along: NDArray[np.float64]
    spacing: NDArray[np.float64]

    @property
    def height(self) -> float:
        """Where the slice lies along its normal, mm."""
        return float(self.position @ np.cross(*self.along))


def read_series(files: Sequence[Path]) -> Volume:
    """Read the slices of one series, in any order, as a volume: x along the rows, y along the columns, z along the normal.

    Rescale slope and intercept are applied once, to each slice its own.

    Raises:
        UnreadableImage: A slice is damaged or says not where it is or what its values mean; there is but one; they differ in
            size, spacing or orientation; two lie at the same place; one is missing; the gantry was tilted.
    """
    slices = sorted((_read(file) for file in files), key=lambda each: each.height)
    if len(slices) < 2:
        raise UnreadableImage("a series of one slice is no volume")
    _check_alike(slices)
    _check_steps(slices)
    step = (slices[-1].position - slices[0].position) / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3, :3] = FLIP @ np.stack([*(slices[0].along * slices[0].spacing[::-1, None]), step], axis=1)
    affine[:3, 3] = FLIP @ slices[0].position
    try:
        return Volume(np.stack([each.values for each in slices]).transpose(2, 1, 0), affine)
    except UserError as error:
        raise UnreadableImage(error.problem) from None


def _read(file: Path) -> Slice:
    stored, header = read_slice(file)
    position = _numbers(header, "ImagePositionPatient", 3)
    along = _numbers(header, "ImageOrientationPatient", 6).reshape(2, 3)
    if np.abs(along @ along.T - np.eye(2)).max() > LARGEST_SKEW:
        raise UnreadableImage("rows and columns of a slice are not perpendicular")
    slope, intercept = (float(_numbers(header, tag, 1)[0]) for tag in ("RescaleSlope", "RescaleIntercept"))
    kind = np.int32 if slope.is_integer() and intercept.is_integer() else np.float32
    values = stored.astype(kind) * kind(slope) + kind(intercept)
    return Slice(values, position, along, _numbers(header, "PixelSpacing", 2))


def _numbers(header: FileDataset, tag: str, count: int) -> NDArray[np.float64]:
    """Return a tag's numbers.

    Raises:
        UnreadableImage: They are missing, too few, or not finite.
    """
    with damage():
        given = header.get(tag)
        numbers = np.atleast_1d(np.array([] if given is None or given == "" else given, np.float64))
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise UnreadableImage(f"a slice without {tag} (or with a wrong one)")
    return numbers


def _check_alike(slices: Sequence[Slice]) -> None:
    first = slices[0]
    if len({each.values.shape for each in slices}) > 1:
        sizes = sorted({each.values.shape for each in slices})
        raise UnreadableImage(f"slices of {len(sizes)} different sizes")
    if any(np.abs(each.along - first.along).max() > SAME for each in slices):
        raise UnreadableImage("slices of mixed orientation")
    if any(np.abs(np.subtract(each.spacing, first.spacing)).max() > SAME for each in slices):
        raise UnreadableImage("slices of different pixel spacing")


def _check_steps(slices: Sequence[Slice]) -> None:
    """Check that slices follow each other evenly along their normal."""
    steps = np.diff([each.height for each in slices])
    twice = int((steps < SAME).sum())
    if twice:
        raise UnreadableImage(f"{twice} of {len(slices)} slices lie at the place of another one (duplicates?)")
    usual = float(np.median(steps))
    uneven = np.abs(steps - usual) > UNEVEN * usual
    if uneven.any():
        missing = int(np.rint(steps[uneven] / usual - 1).clip(0).sum())
        said = f"{missing} missing" if missing else "unevenly spaced"
        raise UnreadableImage(f"a gap between slices: {steps.max():.4g} mm where {usual:.4g} mm is usual ({said})")
    path = slices[-1].position - slices[0].position
    tilt = float(np.degrees(np.arccos(np.clip(steps.sum() / np.linalg.norm(path), -1, 1))))
    if np.sin(np.radians(tilt)) > LARGEST_SKEW:
        raise UnreadableImage(f"a gantry tilted by {tilt:.1f} degrees: slices are not stacked along their normal")
