"""The public data sets by name; a source's module is imported only when it is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path

from lingula.core.errors import UserError, nearest
from lingula.data.sources.public import PublicConfig, PublicSource

PUBLIC: dict[str, tuple[str, str]] = {
    "mimic-cxr-jpg": ("mimic_cxr", "MimicJpgSource"),
    "mimic-cxr": ("mimic_cxr", "MimicDicomSource"),
    "chexpert": ("chexpert", "ChexpertSource"),
    "indiana": ("indiana", "IndianaSource"),
    "nih": ("nih", "NihSource"),
    "rsna": ("rsna", "RsnaSource"),
    "siim": ("siim", "SiimSource"),
    "covidx": ("covidx", "CovidxSource"),
    "object-cxr": ("object_cxr", "ObjectCxrSource"),
    "vindr-cxr": ("vindr", "VindrSource"),
    "padchest": ("padchest", "PadchestSource"),
    "ms-cxr": ("ms_cxr", "MsCxrSource"),
    "tbx11k": ("tbx11k", "Tbx11kSource"),
    "ct-rate": ("ct_rate", "CtRateSource"),
    "rad-chestct": ("rad_chestct", "RadChestCtSource"),
    "nlst": ("nlst", "NlstSource"),
    "bimcv-r": ("bimcv_r", "BimcvRSource"),
    "merlin": ("merlin", "MerlinSource"),
    "nnunet": ("nnunet", "NnunetSource"),
}
"""Name on the command line to module below `lingula.data.sources` and class; a new data set is one line here."""


def public_class(name: str) -> type[PublicSource]:
    """Return the source of a public data set.

    Raises:
        UserError: There is no such data set.
    """
    if name not in PUBLIC:
        raise UserError(f"no such public data set: {name}", nearest(name, PUBLIC) or f"There are {', '.join(PUBLIC)}.")
    module, cls = PUBLIC[name]
    source: type[PublicSource] = getattr(importlib.import_module(f"lingula.data.sources.{module}"), cls)
    return source


def open_public(name: str, root: Path, config: PublicConfig | None = None, tables_only: bool = False) -> PublicSource:
    """Return a public data set in a folder.

    Args:
        name: One of `PUBLIC`.
        root: The folder it was unpacked into.
        config: Split, and what to do about missing images; its own class of it, where the data set has one.
        tables_only: Look at the tables alone.

    Raises:
        UserError: There is no such data set, or the folder does not hold it.
    """
    return public_class(name)(root, config, tables_only)
