"""From the stored values of a DICOM radiograph to grey values: modality LUT, then VOI LUT or window, then bright is dense.

Pixels go through one look-up table with an entry per stored value, so nothing of the image's size is computed in floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from lingula.core.types import Pixels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Table = Float[np.ndarray, "values"]
Chosen = Bool[np.ndarray, "values"]
LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"


def grey_values(stored: Pixels, dataset: Dataset) -> Pixels:
    """Turn stored values into grey values over the whole range of uint8 (up to 8 bits stored) or uint16, bright is dense.

    Padding is black. Of several VOI LUTs or windows the first counts, a VOI LUT before a window. Without either, the smallest
    and largest value of the image become black and white; an image of one value becomes black.

    Args:
        stored: `height width`, int8, uint8, int16 or uint16, as decoded.
        dataset: Header with the defaults of `lingula.data.dicom` filled in.
    """
    unsigned = np.dtype(f"u{stored.dtype.itemsize}")
    positions = stored.view(unsigned)
    values = np.arange(1 << (8 * unsigned.itemsize)).astype(unsigned).view(stored.dtype)
    occurs = np.zeros(len(values), dtype=bool)
    occurs[positions.ravel()] = True
    padding = _padding(values, dataset)
    output = _modality(values.astype(np.float64), dataset)
    shares = _of_interest(output, output[occurs & ~padding], dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    shares[padding] = 0
    grey = np.uint8 if dataset.BitsStored <= 8 else np.uint16
    table = np.rint(shares * np.iinfo(grey).max).astype(grey)
    pixels: Pixels = table[positions]
    return pixels


def window_of(dataset: Dataset) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window, or None where there is no valid one.

    The function is LINEAR where it is not given (PS3.3 C.11.2.1.2). A width that the function does not allow (below 1 for
    LINEAR, not positive for the others) makes the window invalid.
    """
    centre, width = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    function = str(dataset.get("VOILUTFunction") or LINEAR).strip().upper()
    if centre is None or width is None or function not in (LINEAR, LINEAR_EXACT, SIGMOID):
        return None
    if not np.isfinite([centre, width]).all() or width <= 0 or (function == LINEAR and width < 1):
        return None
    return centre, width, function


def has_voi_table(dataset: Dataset) -> bool:
    """Whether the header has a VOI LUT."""
    return bool(dataset.get("VOILUTSequence"))


def _of_interest(output: Table, shown: Table, dataset: Dataset) -> Table:
    """Bring modality values to 0 … 1 by VOI LUT, window, or the range of those shown."""
    window = window_of(dataset)
    if has_voi_table(dataset):
        looked_up, largest = _look_up(output, dataset.VOILUTSequence[0])
        return np.asarray(np.clip(looked_up / largest, 0, 1))
    if window:
        return _windowed(output, *window)
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 0.0)
    return np.zeros_like(output) if high == low else np.clip((output - low) / (high - low), 0, 1)


def _windowed(output: Table, centre: float, width: float, function: str) -> Table:
    """Apply a window (PS3.3 C.11.2.1.2.1 LINEAR, C.11.2.1.3.1 SIGMOID, C.11.2.1.3.2 LINEAR_EXACT)."""
    if function == SIGMOID:
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (output - centre) / width, -700, 700))))
    if function == LINEAR_EXACT:
        return np.asarray(np.clip((output - centre) / width + 0.5, 0, 1))
    if width == 1:
        return np.asarray(output > centre - 0.5, dtype=np.float64)
    return np.asarray(np.clip((output - (centre - 0.5)) / (width - 1) + 0.5, 0, 1))


def _modality(values: Table, dataset: Dataset) -> Table:
    """Apply the modality LUT or the rescale slope and intercept (PS3.3 C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        return _look_up(values, dataset.ModalityLUTSequence[0])[0]
    slope, intercept = _first(dataset.get("RescaleSlope")), _first(dataset.get("RescaleIntercept"))
    return values * (1.0 if slope is None else slope) + (0.0 if intercept is None else intercept)


def _look_up(values: Table, item: Dataset) -> tuple[Table, float]:
    """Send values through a LUT (PS3.3 C.11.1.1.1); those outside take its first or last entry. Return its largest value too."""
    entries, first, bits = (int(number) for number in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, dtype=np.uint8 if len(data) == (entries or 65536) else "<u2")
    table = np.asarray(data, dtype=np.float64).ravel()[: entries or 65536]
    if first >= 32768 and values.min() < 0:
        first -= 65536
    positions = np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)
    return table[positions], float(2**bits - 1)


def _padding(values: np.ndarray, dataset: Dataset) -> Chosen:
    """Which stored values mean that there is no image (PS3.3 C.7.5.1.1.2)."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return np.zeros(len(values), dtype=bool)
    limits = [_as_stored(each, values.dtype) for each in (value, dataset.get("PixelPaddingRangeLimit", value))]
    return np.asarray((values >= min(limits)) & (values <= max(limits)))


def _as_stored(value: Any, dtype: np.dtype[Any]) -> int:
    """Read a tag of the pixels' own type, which some writers give as the other of signed and unsigned."""
    return int(np.array(int(value) & 0xFFFF, dtype=np.uint16).astype(dtype if dtype.itemsize == 2 else np.int32))


def _first(value: Any) -> float | None:
    """Return the first of one or several numbers."""
    if value is None or value == "":
        return None
    return float(value) if isinstance(value, str | int | float) else (float(value[0]) if len(value) else None)
