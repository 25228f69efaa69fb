"""Every array of the project, named once, with its axes.

`radiograph_features` are the pooled outputs of an image encoder before any projection; `latents` live in the space that
images and texts share. Shapes are documentation for the reader and the type checker; nothing is checked at run time,
so torch is not imported here: worker processes that only read images start without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any

Images: TypeAlias = Float[Tensor, "batch channels height width"]
"""Radiographs as a model sees them, normalised."""

Volumes: TypeAlias = Float[Tensor, "batch channels x y z"]
"""CT volumes as a model sees them, preprocessed."""

ImageFeatures: TypeAlias = Float[Tensor, "batch image_features"]
"""Pooled output of the image encoder, before projection."""

FeatureMap: TypeAlias = Float[Tensor, "batch image_features rows columns"]
"""Last feature map of the image encoder, before pooling."""

VolumeTokens: TypeAlias = Float[Tensor, "batch tokens features"]
"""One vector per patch of a volume; where nothing was dropped, in raster order: x slowest, z fastest."""

VolumeGrid: TypeAlias = Float[Tensor, "batch features x y z"]
"""The same vectors on the grid of patches."""

KeptTokens: TypeAlias = Int[Tensor, "batch kept"]
"""Raster numbers (x slowest, z fastest) of the patches that an encoder sees."""

HiddenTokens: TypeAlias = Int[Tensor, "batch hidden"]
"""Those of the patches that it does not see."""

AttentionMaps: TypeAlias = Float[Tensor, "batch heads rows columns"]
"""How much each head of an attention pooling looks at each cell of the feature grid."""

TextFeatures: TypeAlias = Float[Tensor, "batch text_features"]
"""Pooled output of the text encoder, before projection."""

Latents: TypeAlias = Float[Tensor, "batch latent"]
"""Projected embeddings in the space shared by images and texts."""

TokenIds: TypeAlias = Int[Tensor, "batch tokens"]
TokenMask: TypeAlias = Bool[Tensor, "batch tokens"]
Groups: TypeAlias = Int[Tensor, "batch"]
"""Samples with the same number carry the same text and are positives of each other."""

SlotLabels: TypeAlias = Int[Tensor, "batch slots"]
"""Of a statement and its opposite: 1 the statement is true, 0 its opposite is, -1 neither is given."""

FindingLabels: TypeAlias = Float[Tensor, "batch findings"]
"""1 present, 0 absent, NaN unknown or uncertain."""

Scalar: TypeAlias = Float[Tensor, ""]

Pixels: TypeAlias = Int[np.ndarray, "height width"]
"""One stored radiograph, uint8 or uint16; bright is dense (MONOCHROME2)."""

VolumeHU: TypeAlias = Float[np.ndarray, "x y z"]
"""One CT volume in Hounsfield units, axes RAS+: indices grow to the patient's right, front and head."""

VoxelsHU: TypeAlias = Int[np.ndarray, "x y z"]
"""Stored voxels of a CT volume, or of a crop of it, int16, Hounsfield units; axes as its store declares them."""

VolumeMask: TypeAlias = Bool[np.ndarray, "x y z"]

RegionMask: TypeAlias = Bool[np.ndarray, "height width"]

Boxes: TypeAlias = Float[np.ndarray, "boxes 4"]
"""x1, y1, x2, y2 in pixels, measured at the pixels' outer edges: the box of one pixel is 1 wide."""

FindingMatrix: TypeAlias = Float[np.ndarray, "rows findings"]
"""Labels of stored images: 1 present, 0 absent, NaN unknown or uncertain."""

RowNumbers: TypeAlias = Int[np.ndarray, "rows"]
"""Numbers of rows of a store."""
