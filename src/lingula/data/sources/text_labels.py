"""A source whose studies carry the labels that their reports give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lingula.data.study import Picture, Scan, Source, Study, part_of
from lingula.data.text.labeller import LABELLER_VERSION, label_sections
from lingula.data.text.lexicon import NO_FINDING


class TextLabels:
    """Another source, with the fourteen CheXpert findings of each report as labels.

    A label of the source itself stays, and "No Finding" yields to a finding that the source has. Findings that the report does
    not mention, and studies without a report, get none.

    Args:
        source: Where studies and images come from.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name, self.citation, self.licence = source.name, source.citation, source.licence

    def __iter__(self) -> Iterator[Study]:
        for study in self._source:
            if study.report is None:
                yield study
                continue
            said = {finding: value for finding, value in label_sections(study.report.sections).items() if value is not None}
            own = {finding: value for finding, value in study.labels.items() if value is not None}
            if 1 in own.values() and said.get(NO_FINDING):
                said[NO_FINDING] = 0
            yield study.model_copy(update={"labels": {**study.labels, **said, **own}})

    def __len__(self) -> int:
        return len(self._source)

    def read(self, study: Study, image_index: int) -> Picture | Scan:
        """Read one image of a study.

        Raises:
            UnreadableImage: The file is broken.
        """
        return self._source.read(study, image_index)

    def part(self, studies: Sequence[Study]) -> TextLabels:
        """Return a source that can read the images of these studies."""
        return TextLabels(part_of(self._source, studies))

    def settings(self) -> dict[str, object]:
        """Return the settings of the source and the version of the rules."""
        return {**self._source.settings(), "labels_from_text": LABELLER_VERSION}
