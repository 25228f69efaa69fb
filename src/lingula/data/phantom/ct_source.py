"""The phantom's patients as CT volumes."""

from __future__ import annotations

from collections.abc import Iterator

from lingula.core.errors import UserError
from lingula.data.phantom.patient import Patient, sample_patient
from lingula.data.phantom.render import render_scan
from lingula.data.phantom.report import write_report
from lingula.data.phantom.source import SPLITS, VERSION, PhantomSource, address, describe_study, style_of, visits
from lingula.data.study import ImageReference, Scan, Split, Study

SPACING = 5.0
"""Edge of a voxel, mm: about 70 x 55 x 62 voxels a patient."""
PROJECTION = "CT"


class PhantomCtSource:
    """Synthetic studies with exact truth, one CT volume each; the patients are those of `PhantomSource` with the same seed.

    Args:
        train: Number of training studies.
        val: Number of validation studies.
        test: Number of test studies.
        seed: Same seed, same bytes.
        spacing: Edge of a cubic voxel, mm.

    Raises:
        UserError: A count or spacing that makes no sense.
    """

    name, citation, licence = "phantom-ct", PhantomSource.citation, PhantomSource.licence

    def __init__(self, train: int = 420, val: int = 60, test: int = 120, *, seed: int = 0, spacing: float = SPACING) -> None:
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.seed, self.spacing = seed, spacing
        if min(self.counts.values()) < 0 or seed < 0:
            raise UserError("the phantom needs counts and a seed of at least 0", "Check train, val, test and seed.")
        if not 1 <= spacing <= 12:
            raise UserError(f"phantom CT with voxels of {spacing:g} mm", "Choose 1 to 12 mm.")

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[Study]:
        """Yield train, then validation, then test studies."""
        for split in SPLITS:
            for patient, visit in visits(self.seed, split, self.counts[split]):
                yield self.study(split, patient, visit)

    def study(self, split: Split, patient: int, study: int) -> Study:
        """Return one study by the numbers of its patient and of the patient's visit."""
        person = sample_patient(self.seed, split, patient, study)
        written = write_report(person, style_of(split), PROJECTION)
        path = f"phantom:{split}/{patient}/{study}/{PROJECTION}"
        image = ImageReference(path=path, modality="ct", projection=PROJECTION)
        return describe_study(split, patient, study, person, written, [image])

    def read(self, study: Study, image_index: int) -> Scan:
        """Render the volume of a study, with the masks and boxes of its findings and the words that name them."""
        split, person = self._whose(study.images[image_index].path)
        return render_scan(person, self.spacing, words=write_report(person, style_of(split), PROJECTION).words)

    def patient(self, study: Study) -> Patient:
        """Return the patient behind a study."""
        return self._whose(study.images[0].path)[1]

    def settings(self) -> dict[str, object]:
        """Return everything that determines the studies, as plain values."""
        counts = {str(split): count for split, count in self.counts.items()}
        return {"name": self.name, "version": VERSION, "seed": self.seed, "spacing_mm": self.spacing, **counts}

    def _whose(self, path: str) -> tuple[Split, Patient]:
        split, patient, visit, projection = address(path)
        if projection != PROJECTION:
            raise UserError(f"not a CT of the phantom: {path}", "Its addresses look like phantom:train/12/0/CT.")
        return split, sample_patient(self.seed, split, patient, visit)
