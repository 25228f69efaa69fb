"""Which columns of a table say what the files of volumes themselves do not, or say wrongly."""

from __future__ import annotations

from lingula.core.config import Config
from lingula.data.sources.csv_config import NONE


class SidecarConfig(Config):
    """A table of slope, intercept and voxel size, one row per volume; CT-RATE needs one."""

    sidecar: str = NONE
    """Of CT: CSV file of slope, intercept and voxel size, beside the table of images or by its full path; none: no such table."""
    sidecar_image_column: str = "image"
    """Its column of the volume's path or file name."""
    slope_column: str = "slope"
    """Its column of what stored values are multiplied by; none: 1."""
    intercept_column: str = "intercept"
    """Its column of what is added then, HU; none: 0."""
    spacing_columns: tuple[str, ...] = ("spacing",)
    """Its columns of the voxel size, mm, with one, two (in plane, between slices) or three numbers in all; none: the file's."""
