"""The phantom as a source of studies: the embedded default data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, cast

import numpy as np

from lingula.core.errors import UserError, nearest
from lingula.data.phantom.findings import FINDINGS
from lingula.data.phantom.patient import SPLIT_CODES, Patient, sample_patient
from lingula.data.phantom.render import View, render_radiograph
from lingula.data.phantom.report import WrittenReport, write_report
from lingula.data.phantom.wordings import Style
from lingula.data.study import ImageReference, Picture, Split, Study

SPLITS: tuple[Split, ...] = ("train", "val", "test")
VIEWS: tuple[View, ...] = ("PA", "AP", "lateral")
VERSION = 1
"""Raised whenever the same seed would give other studies."""
REPEAT_CHANCE = (0.78, 0.15, 0.07)
"""Chance that a patient has one, two or three studies."""


class PhantomSource:
    """Synthetic studies with exact truth; an `Iterable[Study]` whose images are rendered when they are read.

    Args:
        train: Number of training studies.
        val: Number of validation studies.
        test: Number of test studies.
        seed: Same seed, same bytes.
        size: Rows and columns of the rendered square images.
        projections: Images of each study: any of PA, AP, lateral.
        bit_depth: 8 or 16.
        bedside: Whether bedside patients get an AP image in place of PA, one alone where both are asked for.

    Raises:
        UserError: A count, size or projection that makes no sense.
    """

    name = "phantom"
    citation = "lingula phantom: synthetic chest patients; a test bench, never a claim about patients"
    licence = "Apache-2.0 (synthetic)"

    def __init__(
        self,
        train: int = 5000,
        val: int = 500,
        test: int = 1000,
        *,
        seed: int = 0,
        size: int = 96,
        projections: Sequence[str] = ("PA",),
        bit_depth: int = 8,
        bedside: bool = True,
    ) -> None:
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.seed, self.size, self.bedside = seed, size, bedside
        self.bit_depth = bit_depth
        self.projections = tuple(_known(projection) for projection in projections)
        if min(self.counts.values()) < 0 or not self.projections:
            raise UserError(
                "the phantom needs counts of at least 0 and one projection", "Check train, val, test and projections."
            )
        if size < 32 or size > 2048 or bit_depth not in (8, 16) or seed < 0:
            raise UserError(
                f"phantom of size {size}, {bit_depth} bit, seed {seed}", "Size is 32 to 2048, bit depth 8 or 16, seed at least 0."
            )

    def __len__(self) -> int:
        return sum(self.counts.values())

    def __iter__(self) -> Iterator[Study]:
        """Yield train, then validation, then test studies."""
        for split in SPLITS:
            for patient, study in visits(self.seed, split, self.counts[split]):
                yield self.study(split, patient, study)

    def study(self, split: Split, patient: int, study: int) -> Study:
        """Return one study by the numbers of its patient and of the patient's visit."""
        person = sample_patient(self.seed, split, patient, study)
        views = list(dict.fromkeys(self._view(projection, person) for projection in self.projections))
        written = self._write(person, split, views[0])
        images = [
            ImageReference(path=f"phantom:{split}/{patient}/{study}/{view}", modality="radiograph", projection=view)
            for view in views
        ]
        return describe_study(split, patient, study, person, written, images)

    def read(self, study: Study, image_index: int) -> Picture:
        """Render one image of a study, with the masks and boxes of its findings and the words that name them."""
        split, patient, visit, view = parse(study.images[image_index].path)
        person = sample_patient(self.seed, split, patient, visit)
        written = self._write(person, split, cast(View, study.images[0].projection))
        picture = render_radiograph(person, view, self.size, bit_depth=self.bit_depth, words=written.words)
        picture.regions = [region.model_copy(update={"image_index": image_index}) for region in picture.regions]
        return picture

    def patient(self, study: Study) -> Patient:
        """Return the patient behind a study, e.g. to render the CT volume."""
        split, patient, visit, _ = parse(study.images[0].path)
        return sample_patient(self.seed, split, patient, visit)

    def settings(self) -> dict[str, object]:
        """Return everything that determines the studies, as plain values."""
        return {
            "name": self.name,
            "version": VERSION,
            "seed": self.seed,
            "size": self.size,
            "projections": list(self.projections),
            "bit_depth": self.bit_depth,
            "bedside": self.bedside,
            **{str(split): count for split, count in self.counts.items()},
        }

    def _view(self, projection: View, person: Patient) -> View:
        return "AP" if projection == "PA" and person.bedside and self.bedside else projection

    @staticmethod
    def _write(person: Patient, split: Split, view: View) -> WrittenReport:
        return write_report(person, style_of(split), view)


def style_of(split: Split) -> Style:
    """Return the vocabulary of a split's reports; validation and test share no phrasing with training."""
    return "train" if split == "train" else "test"


def describe_study(
    split: Split, patient: int, study: int, person: Patient, written: WrittenReport, images: list[ImageReference]
) -> Study:
    """Return a study with the labels of its facts and the report about them, whatever its images are."""
    labels = cast(dict[str, Literal[1, 0, -1] | None], {finding: int(finding in person.findings) for finding in FINDINGS})
    mentioned = sorted({person.facts[index].finding for index in written.words})
    extra = {"sex": person.anatomy.sex, "age": str(person.anatomy.age), "source": "phantom", "mentioned": ";".join(mentioned)}
    return Study(
        study_id=f"phantom-{split}-{patient:06d}-{study}",
        patient_id=f"phantom-{split}-{patient:06d}",
        images=images,
        report=written.report,
        labels=labels,
        split=split,
        licence=PhantomSource.licence,
        extra=extra | {"denied": ";".join(sorted(written.denied))},
    )


def parse(path: str) -> tuple[Split, int, int, View]:
    """Return split, patient, visit and view of a `phantom:` address.

    Raises:
        UserError: It is no such address.
    """
    split, patient, visit, view = address(path)
    return split, patient, visit, _known(view)


def address(path: str) -> tuple[Split, int, int, str]:
    """Return split, patient, visit and projection of a `phantom:` address, whatever the projection.

    Raises:
        UserError: It is no such address.
    """
    scheme, _, rest = path.partition(":")
    parts = rest.split("/")
    if scheme != "phantom" or len(parts) != 4 or parts[0] not in SPLIT_CODES or not (parts[1] + parts[2]).isdecimal():
        raise UserError(f"not an image of the phantom: {path}", "Its addresses look like phantom:train/12/0/PA.")
    return cast(Split, parts[0]), int(parts[1]), int(parts[2]), parts[3]


def _known(projection: str) -> View:
    if projection not in VIEWS:
        raise UserError(
            f"the phantom has no projection '{projection}'", nearest(projection, VIEWS) or f"Known: {', '.join(VIEWS)}."
        )
    return projection


def visits(seed: int, split: Split, count: int) -> Iterator[tuple[int, int]]:
    """Yield patient and visit of the first `count` studies of a split; a longer split begins with the same studies."""
    patient, yielded = 0, 0
    while yielded < count:
        draw = np.random.default_rng((seed, SPLIT_CODES[split], patient, 4)).random()
        visits = 1 + int(draw > REPEAT_CHANCE[0]) + int(draw > REPEAT_CHANCE[0] + REPEAT_CHANCE[1])
        for visit in range(min(visits, count - yielded)):
            yield patient, visit
        yielded += min(visits, count - yielded)
        patient += 1
