"""`lingula data prepare NAME` and `lingula data audit NAME`: the public data sets in their published layouts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from lingula.cli.prepare import _PrepareReal
from lingula.core.errors import UserError, nearest

if TYPE_CHECKING:
    from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
    from lingula.data.sources.public import PublicConfig, PublicSource
    from lingula.data.study import Source


@dataclass(kw_only=True)
class _PreparePublic(_PrepareReal):
    """What preparing any public data set needs."""

    root: Path
    """Folder that the data set was unpacked into, as published; `lingula data audit NAME` says what it holds."""
    split: str = ""
    """How it is split; empty: its first rule. `lingula data audit NAME` lists the rules."""
    split_lists: Path | None = None
    """Folder of train.txt, val.txt, test.txt instead of a rule."""
    allow_missing: bool = False
    """Go on without images that the tables list and that are not there."""

    def name(self) -> str:
        """Name of the data set."""
        raise UserError("no data set", "Call lingula data prepare NAME.")

    def config(self) -> PublicConfig:
        """How it is split, and what happens to missing images."""
        from lingula.data.sources.public import PublicConfig

        return PublicConfig(split=self.split, split_lists=self.split_lists, allow_missing=self.allow_missing)

    def stored(self) -> PrepareConfig | PrepareVolumesConfig:
        """What the store holds: radiographs.

        Raises:
            UserError: CT volumes were asked for.
        """
        if self.projection is not None:
            raise UserError(f"{self.name()} holds radiographs, no CT volumes", "Leave out --projection ct.")
        return super().stored()

    def source(self) -> Source:
        """The data set's studies; says what was left out, and what is known about the split."""
        from lingula.data.sources.catalogue import open_public
        from lingula.data.split_audit import known_lines

        source = open_public(self.name(), self.root, self.config())
        source.check_apart()
        for reason, count in source.skipped.items():
            print(f"left out: {count:,} × {reason}")
        for line in known_lines(source):
            print(line)
        return source


@dataclass(kw_only=True)
class PrepareMimicJpg(_PreparePublic):
    """Make a store of MIMIC-CXR-JPG with the reports of MIMIC-CXR; sections are cut on the way."""

    reports: Path | None = None
    """Folder of the unpacked mimic-cxr-reports.zip, where it is not below the root."""

    def name(self) -> str:
        """Name of the data set."""
        return "mimic-cxr-jpg"

    def config(self) -> PublicConfig:
        """How it is split, what happens to missing images, where the reports are."""
        from lingula.data.sources.mimic_cxr import MimicConfig

        return MimicConfig(**super().config().model_dump(), reports=self.reports)


@dataclass(kw_only=True)
class PrepareMimicDicom(PrepareMimicJpg):
    """Make a store of MIMIC-CXR as DICOM; split, view and labels come from the tables of MIMIC-CXR-JPG."""

    def name(self) -> str:
        """Name of the data set."""
        return "mimic-cxr"


@dataclass(kw_only=True)
class PrepareMsCxr(_PreparePublic):
    """Make a store of MS-CXR: phrases with boxes in images of MIMIC-CXR."""

    images: Path | None = None
    """Folder that holds MIMIC-CXR-JPG's files/, where it is not below the root."""

    def name(self) -> str:
        """Name of the data set."""
        return "ms-cxr"

    def config(self) -> PublicConfig:
        """How it is split, what happens to missing images, where the images are."""
        from lingula.data.sources.ms_cxr import MsCxrConfig

        return MsCxrConfig(**super().config().model_dump(), images=self.images)


@dataclass(kw_only=True)
class PrepareChexpert(_PreparePublic):
    """Make a store of CheXpert, with the reports of CheXpert Plus where they are there."""

    def name(self) -> str:
        """Name of the data set."""
        return "chexpert"


@dataclass(kw_only=True)
class PrepareIndiana(_PreparePublic):
    """Make a store of the Indiana University radiographs and reports (OpenI)."""

    def name(self) -> str:
        """Name of the data set."""
        return "indiana"


@dataclass(kw_only=True)
class PrepareNih(_PreparePublic):
    """Make a store of NIH ChestX-ray14, boxes too."""

    def name(self) -> str:
        """Name of the data set."""
        return "nih"


@dataclass(kw_only=True)
class PrepareRsna(_PreparePublic):
    """Make a store of the RSNA Pneumonia Detection Challenge, boxes too."""

    def name(self) -> str:
        """Name of the data set."""
        return "rsna"


@dataclass(kw_only=True)
class PrepareSiim(_PreparePublic):
    """Make a store of the SIIM-ACR Pneumothorax Segmentation Challenge, masks too."""

    def name(self) -> str:
        """Name of the data set."""
        return "siim"


@dataclass(kw_only=True)
class PrepareCovidx(_PreparePublic):
    """Make a store of COVIDx."""

    def name(self) -> str:
        """Name of the data set."""
        return "covidx"


@dataclass(kw_only=True)
class PrepareObjectCxr(_PreparePublic):
    """Make a store of Object-CXR, masks of foreign objects too."""

    def name(self) -> str:
        """Name of the data set."""
        return "object-cxr"


@dataclass(kw_only=True)
class PrepareVindr(_PreparePublic):
    """Make a store of VinDr-CXR, boxes too."""

    def name(self) -> str:
        """Name of the data set."""
        return "vindr-cxr"


@dataclass(kw_only=True)
class PreparePadchest(_PreparePublic):
    """Make a store of PadChest."""

    def name(self) -> str:
        """Name of the data set."""
        return "padchest"


@dataclass(kw_only=True)
class PrepareTbx11k(_PreparePublic):
    """Make a store of TBX11K, boxes too."""

    def name(self) -> str:
        """Name of the data set."""
        return "tbx11k"


@dataclass
class AuditSplits:
    """List the splits of a public data set and what is known about them; with --root, count and compare what they hold.

    Exit code 1 where a patient, or an image file, is in two splits.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The data set, as `lingula data prepare` calls it."""
    root: Path | None = None
    """Folder that it was unpacked into; without it only what is known is printed."""
    split: str = ""
    """The split to look at; empty: the first."""
    split_lists: Path | None = None
    """Folder of train.txt, val.txt, test.txt instead of a rule."""
    allow_missing: bool = False
    """Go on without images that are not there."""
    reports: Path | None = None
    """MIMIC-CXR: folder of the unpacked reports, where it is not below the root."""
    images: Path | None = None
    """MS-CXR: folder that holds MIMIC-CXR-JPG's files/, where it is not below the root."""
    image_column: str = ""
    """BIMCV-R: column with the volumes' paths, where it is not ct_path or path."""
    report_column: str = ""
    """BIMCV-R: column with the reports, where it is not Report_en."""
    patient_column: str = ""
    """Merlin: column that tells the patient."""
    release: Literal["", "v1", "v2"] = ""
    """CT-RATE: which release it is, where the folders do not tell."""
    chest_only: bool = False
    """CT-RATE: leave out the scans that no_chest_train.txt and no_chest_valid.txt name."""
    tables_only: bool = False
    """Look at the tables alone, before the images are downloaded."""
    hash_images: bool = False
    """Also compare the image files (of series all slices), which reads every byte of them."""

    def run(self) -> None:
        """Print the rules, or the audit of one."""
        from lingula.data.sources.catalogue import public_class

        source = public_class(self.name)
        if self.root is None:
            self._list(source)
        else:
            self._audit(source, self.root)

    def _list(self, source: type[PublicSource]) -> None:
        from lingula.data.split_audit import known_lines

        chosen = self.split or next(iter(source.rules))
        if chosen not in source.rules:
            remedy = nearest(chosen, source.rules) or f"It has {', '.join(source.rules)}."
            raise UserError(f"{self.name} has no split '{chosen}'", remedy)
        print(f"{self.name}: {source.citation}; {source.licence}")
        for name, rule in source.rules.items():
            sizes = f" [{' / '.join(f'{size:,}' for size in rule.sizes)} images]" if rule.sizes else ""
            print(f"{'*' if name == chosen else ' '} --split {name:<12} {rule.summary}{sizes} ({rule.source})")
        for line in known_lines(source, chosen):
            print(line)

    def _audit(self, source: type[PublicSource], root: Path) -> None:
        from lingula.data.split_audit import audit, audit_lines

        if self.hash_images and self.tables_only:
            raise UserError("--hash-images and --tables-only exclude each other", "Give one of them.")
        own = ("reports", "images", "image_column", "report_column", "patient_column", "release", "chest_only")
        given = {name: getattr(self, name) for name in own if getattr(self, name)}
        values = {"split": self.split, "split_lists": self.split_lists, "allow_missing": self.allow_missing, **given}
        opened = source(root, source.settings_class.from_values(values, f"data audit {self.name}"), self.tables_only)
        found = audit(opened, self.hash_images)
        for line in audit_lines(opened, found):
            print(line)
        sys.exit(1 if found.patients or found.images else 0)
