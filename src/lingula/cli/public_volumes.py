"""`lingula data prepare NAME`: the public data sets of CT volumes in their published layouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lingula.cli.prepare import _PrepareReal
from lingula.cli.public import _PreparePublic

if TYPE_CHECKING:
    from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
    from lingula.data.sources.public import PublicConfig


@dataclass(kw_only=True)
class _PreparePublicVolumes(_PreparePublic):
    """What preparing any public data set of CT volumes needs."""

    projection: Literal["ct"] | None = "ct"
    """Volumes are always CT."""

    def stored(self) -> PrepareConfig | PrepareVolumesConfig:
        """What the store holds: CT volumes."""
        return _PrepareReal.stored(self)


@dataclass(kw_only=True)
class PrepareCtRate(_PreparePublicVolumes):
    """Make a store of CT-RATE, v1 or v2; a study is a scan with all its reconstructions and its report."""

    release: Literal["", "v1", "v2"] = ""
    """v1: slope, intercept and voxel size come from the table; v2: files hold Hounsfield units. Empty: v2 where a folder
    `*_fixed` holds volumes, else v1."""
    chest_only: bool = False
    """Leave out the scans that no_chest_train.txt and no_chest_valid.txt name."""

    def name(self) -> str:
        """Name of the data set."""
        return "ct-rate"

    def config(self) -> PublicConfig:
        """How it is split, what happens to missing volumes, which release it is."""
        from lingula.data.sources.ct_rate import CtRateConfig

        return CtRateConfig(**super().config().model_dump(), release=self.release, chest_only=self.chest_only)


@dataclass(kw_only=True)
class PrepareRadChestCt(_PreparePublicVolumes):
    """Make a store of RAD-ChestCT, with 16 of CT-RATE's findings."""

    def name(self) -> str:
        """Name of the data set."""
        return "rad-chestct"


@dataclass(kw_only=True)
class PrepareNlst(_PreparePublicVolumes):
    """Make a store of NLST as TCIA or IDC download it; a study is a participant's screening with all its series."""

    def name(self) -> str:
        """Name of the data set."""
        return "nlst"


@dataclass(kw_only=True)
class PrepareBimcvR(_PreparePublicVolumes):
    """Make a store of BIMCV-R; a volume whose row tells another patient's report is stored without it."""

    image_column: str = ""
    """Column with the volumes' paths; empty: ct_path, or else path."""
    report_column: str = "Report_en"
    """Column with the reports; `Report` is the Spanish one."""

    def name(self) -> str:
        """Name of the data set."""
        return "bimcv-r"

    def config(self) -> PublicConfig:
        """How it is split, what happens to missing volumes, which columns are read."""
        from lingula.data.sources.bimcv_r import BimcvRConfig

        named = {"image_column": self.image_column, "report_column": self.report_column}
        return BimcvRConfig(**super().config().model_dump(), **named)


@dataclass(kw_only=True)
class PrepareMerlin(_PreparePublicVolumes):
    """Make a store of Merlin's abdominal CT; findings that a report does not mention (-1) are unknown."""

    patient_column: str = ""
    """Column of reports_final or metadata.csv that tells the patient; empty: every scan is a patient of its own."""

    def name(self) -> str:
        """Name of the data set."""
        return "merlin"

    def config(self) -> PublicConfig:
        """How it is split, what happens to missing volumes, who is the patient."""
        from lingula.data.sources.merlin import MerlinConfig

        return MerlinConfig(**super().config().model_dump(), patient_column=self.patient_column)


@dataclass(kw_only=True)
class PrepareNnunet(_PreparePublicVolumes):
    """Make a store of CT volumes with masks in nnU-Net's raw layout (DatasetXXX_NAME)."""

    def name(self) -> str:
        """Name of the data set."""
        return "nnunet"
