"""COVIDx: radiographs collected for COVID-Net: normal, pneumonia, COVID-19, or (from CXR-2 on) negative and positive.

Citation: Wang, Lin, Wong, "COVID-Net", Scientific Reports 2020.
Licence: of each collection it is made of; see https://github.com/lindawangg/COVID-Net.
Download: the images (train/, test/ and, in CXR-4, val/) from https://www.kaggle.com/datasets/andyczhao/covidx-cxr2 and the lists:
train_COVIDx9A.txt and test_COVIDx9A.txt (the papers of MGCA and G2D) from the COVID-Net repository's labels/, or train.txt,
val.txt and test.txt of COVIDx CXR-4 (BenchX).

Quirks: lists have no header, four words a line (patient id, file, class, data source) of which the file may hold blanks; a
patient id is a number or a name, and only unique within its data source; the same patient has several images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from lingula.core.errors import UserError
from lingula.core.files import sha256_of_file
from lingula.data.sources.public import PublicSource
from lingula.data.sources.root_folder import beside
from lingula.data.sources.tables import read_text
from lingula.data.split_rules import Case, SplitRule, drawn_from_train, hold_out_patients, published
from lingula.data.study import ImageReference, Split, Study

CLASSES = {"normal": "No Finding", "pneumonia": "Pneumonia", "COVID-19": "COVID-19", "negative": "", "positive": "COVID-19"}
"""Words of the lists to findings."""
PATTERNS: dict[Split, tuple[str, ...]] = {
    "train": ("train_covidx*.txt", "train.txt"),
    "val": ("val_covidx*.txt", "val.txt"),
    "test": ("test_covidx*.txt", "test.txt"),
}


def _val_if_none(cases: Sequence[Case]) -> list[Split | None]:
    """Keep a published val; hold out a fifth of the patients of train where there is none."""
    has_val = any(case.published == "val" for case in cases)
    return (published if has_val else hold_out_patients(share=0.2))(cases)


class CovidxSource(PublicSource):
    """COVIDx of any version whose lists have four words a line."""

    name = "covidx"
    citation = "Wang et al., COVID-Net, Scientific Reports 2020"
    licence = "of each collection; see the COVID-Net repository"
    rules: Mapping[str, SplitRule] = {
        "patient": SplitRule(
            "the published lists; without a list of val, a fifth of train by patient",
            _val_if_none,
            "COVID-Net; val is ours, nearest to MGCA's",
        ),
        "published": SplitRule(
            "the published lists alone", published, "COVIDx CXR-4 as BenchX uses it", sizes=(67_862, 8_472, 8_481)
        ),
        "mgca": SplitRule(
            "as MGCA: a fifth of train is val, random_state 0, by image",
            drawn_from_train(0.2, seed=0),
            "MGCA mgca/preprocess/covidx.py; G2D (arXiv 2312.01522) Table 6",
            sizes=(23_988, 5_998, 400),
            leak="train is split by image, so patients of val are in train too",
            instead="patient",
        ),
    }
    _heavy = ("_rows",)

    def _open(self) -> None:
        self._rows: dict[str, tuple[Split, str, str, str]] = {}
        for split, patterns in PATTERNS.items():
            if split == "val" and self.folder.find_table(*patterns) is None:
                continue
            path = self.folder.table(*patterns)
            self.hashes[PurePosixPath(path).name] = sha256_of_file(self.root / path)
            for line, words in enumerate(read_text(self.root / path).splitlines(), 1):
                if words.strip():
                    self._add(path, split, _words(words, path, line))

    def _add(self, path: str, split: Split, words: tuple[str, str, str, str]) -> None:
        patient, file, kind, origin = words
        image, row = beside(path, f"{split}/{file}"), (split, patient, kind, origin)
        if image in self._rows:
            if self._rows[image] != row:
                raise UserError(f"{path} lists {file} twice, with different words", "Keep one of the lines.")
            self._skip("row that repeats another one")
        self._rows[image] = row

    def _studies(self) -> Iterator[Study]:
        three = any(kind in ("normal", "pneumonia") for _, _, kind, _ in self._rows.values())
        findings = ("COVID-19", "No Finding", "Pneumonia") if three else ("COVID-19",)
        for image, (split, patient, kind, origin) in self._rows.items():
            yield Study(
                study_id=PurePosixPath(image).stem,
                patient_id=f"{origin}:{patient}",
                images=[ImageReference(path=self._present_path(image))],
                labels={finding: int(CLASSES[kind] == finding) for finding in findings},
                split=split,
                licence=self.licence,
                extra={"source": origin},
            )

    def _present_path(self, image: str) -> str:
        """Return an image's path beside its list, or where its folder lies if the lists were put elsewhere."""
        if image in self.folder.files:
            return image
        folder, file = PurePosixPath(image).parts[-2:]
        found = self.folder.named(file)
        return found if found is not None and PurePosixPath(found).parent.name == folder else image


def _words(line: str, path: str, number: int) -> tuple[str, str, str, str]:
    """Return patient, file, class and data source of a line; the file may hold blanks."""
    words = line.split()
    if len(words) < 4 or words[-2] not in CLASSES:
        problem = f"{path}, line {number}: {line[:60]!r} is not patient, file, class ({', '.join(CLASSES)}) and data source"
        raise UserError(problem, "Is it a list of COVIDx?")
    return words[0], " ".join(words[1:-2]), words[-2], words[-1]
