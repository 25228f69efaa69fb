"""What the public data sets of CT volumes have in common."""

from __future__ import annotations

from lingula.data.sources.csv_volumes import read_or_quarantine
from lingula.data.sources.public import PublicSource
from lingula.data.study import ImageReference, Scan, Study
from lingula.data.volume_reader import NIFTI, OTHERS


class PublicVolumeSource(PublicSource):
    """A public data set of CT volumes; see `PublicSource`."""

    endings: tuple[str, ...] = (*NIFTI, *OTHERS)

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one volume.

        Raises:
            UnreadableImage: The file is broken, missing or no single volume in a known place.
        """
        return Scan(read_or_quarantine(self.root / study.images[image_index].path))


def ct(path: str) -> ImageReference:
    """Return the reference of a CT volume."""
    return ImageReference(path=path, modality="ct", projection="CT")
