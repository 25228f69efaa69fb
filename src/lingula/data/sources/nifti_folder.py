"""A folder of CT volumes without any table: images without text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from lingula.core.errors import UserError
from lingula.core.files import sha256_of
from lingula.data.sources.csv_volumes import read_or_quarantine
from lingula.data.sources.dicom_headers import files_below
from lingula.data.sources.listed import ListedStudies
from lingula.data.sources.nifti_config import NiftiFolderConfig
from lingula.data.study import ImageReference, Scan, Study
from lingula.data.volume_reader import NIFTI, OTHERS


class NiftiFolderSource(ListedStudies):
    """Every volume below a folder (.nii, .nii.gz, .nrrd, .mha, .mhd), told by its suffix; other files are counted in `skipped`.

    Args:
        root: The folder.
        config: Which files make up a study and a patient.

    Raises:
        UserError: The folder is missing or has no volume.
    """

    citation, licence = "", ""

    def __init__(self, root: Path | str, config: NiftiFolderConfig | None = None) -> None:
        self.root, self.config = Path(root), config or NiftiFolderConfig()
        if not self.root.is_dir():
            raise UserError(f"no such folder of volumes: {self.root}", "Check the path given to --root.")
        self.name = self.config.name or self.root.resolve().name
        skipped = Counter[str]()
        found = list(files_below(self.root, lambda _: skipped.update(["folder cannot be listed"])))
        names = [name for name in found if name.lower().endswith(NIFTI + OTHERS)]
        if not names:
            raise UserError(
                f"{self.root} has no volume ({len(found)} other files)", f"These are read: {', '.join(NIFTI + OTHERS)}."
            )
        if len(names) < len(found):
            skipped["not a volume by its suffix"] = len(found) - len(names)
        self.skipped = dict(skipped)
        self._studies: list[Study] = [self._study(study, images) for study, images in self._grouped(names).items()]
        self._settings: dict[str, object] = {
            "root": str(self.root.resolve()),
            "sha256": {"names": sha256_of(*names)},
            "skipped": self.skipped,
            "folder": self.config.model_dump(mode="json"),
        }

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one volume.

        Raises:
            UnreadableImage: The file is broken, or no single volume in a known place.
        """
        return Scan(read_or_quarantine(self.root / study.images[image_index].path))

    def _grouped(self, names: list[str]) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for name in names:
            parent = str(PurePosixPath(name).parent)
            own = self.config.layout == "files" or parent == "."
            groups.setdefault(name if own else parent, []).append(name)
        return groups

    def _study(self, study_id: str, names: list[str]) -> Study:
        patient = study_id if self.config.layout == "files" else PurePosixPath(study_id).parts[0]
        images = [ImageReference(path=name, modality="ct", projection="CT") for name in names]
        return Study(study_id=study_id, patient_id=patient, images=images)
