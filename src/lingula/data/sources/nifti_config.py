"""How a folder of CT volumes is laid out."""

from __future__ import annotations

from typing import Literal

from lingula.core.config import Config


class NiftiFolderConfig(Config):
    """Which files make up a study and a patient, as no table says it."""

    name: str = ""
    """Name of the data set; empty: the folder's."""
    layout: Literal["files", "folders"] = "files"
    """`files`: every file is a study of a patient of its own. `folders`: the files of one folder are one study's reconstructions,
    and all that is below one folder of the root is one patient's (patient/study/reconstruction, as CT-RATE has it)."""
