"""How a store read its images, so that a trained model reads a new one in the same way."""

from __future__ import annotations

from typing import Any, Literal

from lingula.core.config import Config
from lingula.core.types import Pixels
from lingula.data.readers import fit_square, to_depth


class Reading(Config):
    """The steps between a file's grey values and the stored square."""

    size: int
    """Side of the stored square, pixels."""
    bit_depth: Literal[8, 16] = 8
    """Bits per stored grey value."""
    crop_border: bool = False
    """Whether constant borders were cut off."""

    @classmethod
    def of_store(cls, settings: dict[str, Any]) -> Reading:
        """Take it from the `settings` of a store's description."""
        crop = settings["source_settings"].get("dicom", {}).get("crop_border", False)
        return cls(size=settings["size"], bit_depth=settings["bit_depth"], crop_border=crop)

    def inside(self, pixels: Pixels) -> tuple[slice, slice]:
        """Return the rows and columns of an image as read that are kept."""
        if not self.crop_border:
            return slice(0, pixels.shape[0]), slice(0, pixels.shape[1])
        from lingula.data.dicom import border_of  # pydicom is loaded only where borders are cut

        return border_of(pixels)

    def is_stored(self, pixels: Pixels) -> bool:
        """Whether grey values look like a stored square, of its size and depth."""
        return pixels.shape == (self.size, self.size) and pixels.itemsize * 8 == self.bit_depth

    def square(self, pixels: Pixels) -> Pixels:
        """Return what the store would hold of an image as read, `size size`."""
        return fit_square(to_depth(pixels[self.inside(pixels)], self.bit_depth), self.size)[0]
