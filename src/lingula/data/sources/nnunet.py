"""Any data set of CT volumes with masks in nnU-Net's raw layout, e.g. converted MSD, AMOS, KiTS, LiTS.

Citation: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation", Nature
Methods 2021, for the layout; the data set's own besides.
Licence: the data set's own; its dataset.json may say it.
Download: the data set's own page, then its converter of nnU-Net v2 (nnUNetv2_convert_MSD_dataset for the Medical Segmentation
Decathlon). --root is one folder DatasetXXX_NAME: imagesTr/CASE_0000.nii.gz, labelsTr/CASE.nii.gz, dataset.json with
channel_names, labels, numTraining and file_ending; perhaps imagesTs and labelsTs.

Quirks: a case may have several channels; those called CT are taken, others are counted. A label may be several numbers (regions
that hold each other), and `ignore` marks voxels without annotation: no mask is made of it, and what it covers counts as outside
of every mask. A label that a case does not have gives it no region. Who is the patient is not told: every case is a patient of
its own. The Hounsfield check of `lingula data prepare` asks for some air; --no-check-hounsfield leaves it out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lingula.core.errors import UserError
from lingula.core.files import sha256_of_file
from lingula.data.readers import UnreadableImage
from lingula.data.sources.csv_volumes import read_or_quarantine
from lingula.data.sources.public_volumes import PublicVolumeSource, ct
from lingula.data.sources.tables import read_text
from lingula.data.split_rules import SplitRule, hold_out_patients, published
from lingula.data.study import Region, Scan, Split, Study
from lingula.data.volume_reader import NIFTI, OTHERS, Volume, check_same_grid
from lingula.data.volume_storing import bounding_box

ABOUT = "dataset.json"
CT = "ct"
NOT_LABELS = ("background", "ignore")
FOLDERS: dict[Split, str] = {"train": "Tr", "test": "Ts"}


class NnunetSource(PublicVolumeSource):
    """A folder DatasetXXX_NAME; every case is a study, every label in it a region with its mask."""

    name = "nnunet"
    citation = "the data set's own; layout: Isensee et al., nnU-Net, Nature Methods 2021"
    licence = "the data set's own"
    rules: Mapping[str, SplitRule] = {
        "official": SplitRule(
            "imagesTs is test; a tenth of imagesTr is val", hold_out_patients(share=0.1), "the layout's folders; val is ours"
        ),
        "published": SplitRule("imagesTr is train, imagesTs test, without val", published, "the layout's folders"),
    }
    notes = (
        "Patients are not told: every case is taken for a patient of its own.",
        "Cases of imagesTs have regions only where labelsTs is there.",
    )
    _heavy = ("_cases_of",)

    def _open(self) -> None:
        about = self._about()
        self.licence = str(about.get("licence") or about.get("license") or self.licence)
        self._ending = str(_entry(about, "file_ending", str))
        if self._ending.lower() not in (*NIFTI, *OTHERS):
            raise UserError(f"{ABOUT} says files end in {self._ending!r}", f"These are read: {', '.join(NIFTI + OTHERS)}.")
        channels = {int(number): str(name) for number, name in _entry(about, "channel_names", dict).items()}
        self._channels = sorted(number for number, name in channels.items() if name.lower() == CT)
        if not self._channels:
            raise UserError(
                f"{self.root} has no CT: its channels are {', '.join(channels.values())}", "Only CT volumes are read."
            )
        self._labels = _labels(_entry(about, "labels", dict))
        self._values = sorted({0, *(value for values in _all_labels(about["labels"]).values() for value in values)})
        self._cases_of = {split: self._case_names(folder) for split, folder in FOLDERS.items()}
        others = len(channels) - len(self._channels)
        self._skip("channel of a case that is no CT", others * sum(len(names) for names in self._cases_of.values()))
        self._check_training(about)

    def _about(self) -> dict[str, Any]:
        path = self.root / self.folder.table(ABOUT)
        if path.parent != self.root:
            raise UserError(f"{ABOUT} is not in {self.root} but in {path.parent}", f"Give --root {path.parent}.")
        try:
            about = json.loads(read_text(path))
        except ValueError as error:
            raise UserError(f"{path} is no JSON ({error})", "Convert the data set again.") from None
        if not isinstance(about, dict):
            raise UserError(f"{path} is no JSON object", "Convert the data set again.")
        if "modality" in about and "channel_names" not in about:
            problem = f"{path} is one of the Medical Segmentation Decathlon or of nnU-Net v1 (modality, no channel_names)"
            raise UserError(problem, "Convert it with nnUNetv2_convert_MSD_dataset or nnUNetv2_convert_old_nnUNet_dataset.")
        if "dataset" in about:
            raise UserError(f"{path} lists its files under 'dataset'", "Only the folders imagesTr and labelsTr are read.")
        self.hashes[ABOUT] = sha256_of_file(path)
        return about

    def _case_names(self, folder: str) -> list[str]:
        """Return the cases that have an image of any channel, or a mask."""
        images = {name[:-5] for name in self._stems(f"images{folder}") if name[-5:-4] == "_" and name[-4:].isdigit()}
        return sorted(images | set(self._stems(f"labels{folder}")))

    def _stems(self, folder: str) -> list[str]:
        start, end = len(folder) + 1, -len(self._ending)
        return [name[start:end] for name in self.folder.files if name.startswith(f"{folder}/") and name.endswith(self._ending)]

    def _check_training(self, about: dict[str, Any]) -> None:
        """Check that all training cases have their masks, and are as many as dataset.json says."""
        cases = self._cases_of["train"]
        without = sorted(set(cases) - set(self._stems("labelsTr")))
        told = _entry(about, "numTraining", int)
        if self.tables_only or self.config.allow_missing:
            self._skip("training case without a mask file", len(without))
            return
        remedy = "Finish the download, or go on without them with --allow-missing."
        if without:
            raise UserError(f"{len(without):,} of {len(cases):,} training cases have no mask (first: {without[0]!r})", remedy)
        if len(cases) != told:
            raise UserError(f"{self.root} has {len(cases):,} training cases, {ABOUT} says {told:,}", remedy)

    def _studies(self) -> Iterator[Study]:
        for split, cases in self._cases_of.items():
            for case in cases:
                paths = [f"images{FOLDERS[split]}/{case}_{channel:04d}{self._ending}" for channel in self._channels]
                yield Study(
                    study_id=case, patient_id=case, images=[ct(path) for path in paths], split=split, licence=self.licence
                )

    def read(self, study: Study, image_index: int) -> Scan:
        """Read one volume and the mask of every label that it has.

        Raises:
            UnreadableImage: The volume is broken or missing; a broken mask leaves it without regions.
        """
        scan = super().read(study, image_index)
        folder = study.images[image_index].path.partition("/")[0]
        where = f"{folder.replace('images', 'labels')}/{study.study_id}{self._ending}"
        if not (self.root / where).is_file():
            return scan
        try:
            self._add_masks(scan, read_or_quarantine(self.root / where), where)
        except UnreadableImage as error:
            scan.problems.append((where, f"mask: {error.reason}"))
        return scan

    def _add_masks(self, scan: Scan, mask: Volume, where: str) -> None:
        try:
            check_same_grid(scan.volume, mask)
        except UserError as error:
            raise UnreadableImage(error.problem) from None
        strange = np.setdiff1d(np.unique(mask.voxels), self._values)
        if strange.size:
            raise UnreadableImage(f"it holds {strange[0]:g}, which {ABOUT} does not name")
        for finding, values in self._labels.items():
            inside = np.isin(mask.voxels, values)
            if inside.any():
                scan.regions.append(Region(finding=finding, box=bounding_box(inside), mask=where))
                scan.masks.append(inside)


def _entry(about: dict[str, Any], key: str, kind: type) -> Any:
    value = about.get(key)
    if not isinstance(value, kind):
        raise UserError(f"{ABOUT} has no {key}, or a strange one ({value!r})", "Convert the data set with nnU-Net v2.")
    return value


def _all_labels(labels: dict[str, Any]) -> dict[str, list[int]]:
    """Return label to its numbers.

    >>> _all_labels({"background": 0, "kidney": [1, 2], "tumour": 2})
    {'background': [0], 'kidney': [1, 2], 'tumour': [2]}
    """
    try:
        return {name: [int(value) for value in (each if isinstance(each, list) else [each])] for name, each in labels.items()}
    except (TypeError, ValueError):
        raise UserError(f"the labels of {ABOUT} are not names with numbers ({labels})", "Convert it with nnU-Net v2.") from None


def _labels(labels: dict[str, Any]) -> dict[str, list[int]]:
    found = {name: values for name, values in _all_labels(labels).items() if name not in NOT_LABELS}
    if not found:
        raise UserError(f"{ABOUT} names no label but the background", "Convert the data set with nnU-Net v2.")
    return found
