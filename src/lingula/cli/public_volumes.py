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
class PrepareNnunet(_PreparePublicVolumes):
    """Make a store of CT volumes with masks in nnU-Net's raw layout (DatasetXXX_NAME)."""

    def name(self) -> str:
        """Name of the data set."""
        return "nnunet"
