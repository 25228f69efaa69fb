"""CT volumes from NIfTI and other single-file formats, with their place in the patient."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from lingula.core.errors import UserError

NIFTI = (".nii", ".nii.gz")
OTHERS = (".nrrd", ".mha", ".mhd")
NIFTI_1_HEADER = 348
"""Bytes."""
FLIP = np.diag([-1.0, -1.0, 1.0])
"""Between RAS, where affines live here, and LPS, where ITK's do."""
LARGEST_SHIFT = 0.1
"""Voxels by which a mask's corner may be away from its volume's."""
LARGEST_SKEW = 1e-3
"""Largest cosine between two axes that still count as perpendicular."""
SMALLEST_COSINE = 1e-12
"""What is smaller is rounding. With numbers near the smallest of all, ITK cannot invert the matrix and resamples to zeros
without a word."""


@dataclass(frozen=True)
class Volume:
    """Voxels and where they are.

    Args:
        voxels: `x y z`; of a CT in Hounsfield units, in the type they are stored in.
        affine: Maps voxel indices to mm, RAS+ (right, front, head).

    Raises:
        UserError: Not three axes, no voxels, values that are no finite numbers, no affine, a spacing of zero, or axes that are
            not perpendicular.
    """

    voxels: Shaped[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]

    def __post_init__(self) -> None:
        _check_voxels(self.voxels)
        _check_affine(self.affine)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size along x, y and z, mm."""
        return np.asarray(np.sqrt((np.asarray(self.affine, np.float64)[:3, :3] ** 2).sum(axis=0)))


def read_volume(path: str | Path) -> Volume:
    """Read a volume from NIfTI (.nii, .nii.gz), .nrrd, .mha or .mhd; slope and intercept of the file are applied.

    A fourth axis of length 1 is dropped. Whole numbers stay whole numbers unless the file has a slope.

    Raises:
        UserError: The file is missing, damaged, no such file, has several volumes, or says not where the patient lies; and
            what `Volume` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such volume: {path}", "Give one file: .nii, .nii.gz, .nrrd, .mha or .mhd.")
    if path.name.lower().endswith(NIFTI):
        return _read_nifti(path)
    if not path.name.lower().endswith(OTHERS):
        raise UserError(f"{path} is no volume", f"These are read: {', '.join(NIFTI + OTHERS)}.")
    return _read_with_itk(path)


def check_same_grid(volume: Volume, mask: Volume) -> None:
    """Check that a mask has a label for each voxel of a volume, at the same place.

    Raises:
        UserError: It has another shape, or a corner lies more than a tenth of a voxel away.
    """
    remedy = "Resample the mask to its volume with nearest neighbours."
    if volume.voxels.shape != mask.voxels.shape:
        problem = f"a mask of {mask.voxels.shape} voxels is not on the grid of its volume of {volume.voxels.shape}"
        raise UserError(problem, remedy)
    corners = np.array([[x, y, z, 1] for x, y, z in product(*((0, side - 1) for side in mask.voxels.shape))])
    apart = float(np.linalg.norm((corners @ (np.asarray(mask.affine) - volume.affine).T)[:, :3], axis=1).max())
    if apart > LARGEST_SHIFT * volume.spacing.min():
        raise UserError(f"a mask is not on the grid of its volume: a corner lies {apart:.3g} mm away", remedy)


def to_itk(volume: Volume) -> Any:
    """Return a volume as SimpleITK image: axes x y z as they are, its place in LPS."""
    import SimpleITK

    voxels = np.ascontiguousarray(_itk_type(volume.voxels).transpose())
    image = SimpleITK.GetImageFromArray(voxels)
    affine = np.asarray(volume.affine, np.float64)
    image.SetSpacing(volume.spacing.tolist())
    cosines = FLIP @ (affine[:3, :3] / volume.spacing)
    image.SetDirection(np.where(np.abs(cosines) < SMALLEST_COSINE, 0, cosines).flatten().tolist())
    image.SetOrigin((FLIP @ affine[:3, 3]).tolist())
    return image


def from_itk(image: Any) -> Volume:
    """Return a three-dimensional SimpleITK image of single values as volume.

    Raises:
        UserError: What `Volume` refuses.
    """
    import SimpleITK

    return Volume(SimpleITK.GetArrayFromImage(image).transpose(), _affine(image))


def _affine(image: Any) -> NDArray[np.float64]:
    """Affine, RAS+, of the first three axes of a SimpleITK image, or of a reader that has read a header."""
    axes, affine = image.GetDimension(), np.eye(4)
    affine[:3, :3] = (FLIP @ np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]) * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = FLIP @ np.array(image.GetOrigin())[:3]
    return affine


def _read_with_itk(path: Path) -> Volume:
    import SimpleITK

    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise _refused_by_itk(path, error) from None
    while image.GetDimension() > 3 and image.GetSize()[-1] == 1:
        image = image[(slice(None),) * (image.GetDimension() - 1) + (0,)]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise _several(path, (*image.GetSize(), image.GetNumberOfComponentsPerPixel()))
    return from_itk(image)


def _read_nifti(path: Path) -> Volume:
    """Take the place from ITK, which has a rule for every header, and the voxels from nibabel.

    ITK would read the missing end of a file, and every value that is no finite number, as 0: water.
    """
    import SimpleITK

    image = _open_nifti(path)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _refused_by_itk(path, error) from None
    slope, intercept = (float(image.dataobj.slope), float(image.dataobj.inter))
    voxels = np.array(image.dataobj.get_unscaled()).reshape(image.shape[:3])
    if (slope, intercept) != (1, 0):
        voxels = (voxels * slope + intercept).astype(np.float32)
    return Volume(voxels, _affine(reader))


def _open_nifti(path: Path) -> Any:
    """Read a NIfTI file to its end, and check what nibabel, too, would mend without a word.

    Raises:
        UserError: It is damaged, holds several volumes, a spacing of zero, or says not where the patient lies.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.name.lower().endswith(".gz") else data
        kind: Any = type(nibabel.load(path))
        image, header = kind.from_bytes(data), kind.header_class.from_fileobj(io.BytesIO(data), check=False)
        held = header.get_data_offset() + math.prod(image.shape) * image.get_data_dtype().itemsize
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"cannot read {path} ({reason})", "It is cut short, damaged, or no NIfTI.") from None
    if header.sizeof_hdr != NIFTI_1_HEADER:
        raise UserError(f"{path} is a NIfTI-2 file", "Write it as NIfTI-1, or as .nrrd.")
    if len(data) < held:
        raise UserError(f"cannot read {path} ({len(data)} of {held} bytes are there)", "It is cut short.")
    if any(length != 1 for length in image.shape[3:]):
        raise _several(path, image.shape)
    if not (int(header["sform_code"]) or int(header["qform_code"])):
        problem = f"{path} says not how the patient lies in it (no affine: sform and qform code are 0)"
        raise UserError(problem, "Write it again with an affine, or give Volume(voxels, affine).")
    spacing = header["pixdim"][1:4]
    if not (spacing > 0).all():
        sizes = ", ".join(f"{length:g}" for length in spacing)
        raise UserError(f"{path} has a spacing that is not positive ({sizes} mm)", "Write its voxel size into the header.")
    return image


def _refused_by_itk(path: Path, error: RuntimeError) -> UserError:
    if "orthonormal" in str(error):
        return _skewed()
    reason = [line for line in str(error).splitlines() if line.strip()][-1].strip()
    return UserError(f"cannot read {path} ({reason})", "It is cut short or damaged.")


def _check_voxels(voxels: np.ndarray) -> None:
    if voxels.ndim != 3:
        problem = f"a volume has three axes, x y z, not {voxels.ndim} (shape {tuple(voxels.shape)})"
        raise UserError(problem, "Give one volume at a time, without channel or time axis.")
    if voxels.size == 0:
        raise UserError(f"a volume without voxels (shape {tuple(voxels.shape)})", "Leave it out.")
    if voxels.dtype.kind not in "biuf":
        raise UserError(f"a volume of {voxels.dtype} values is no CT", "Give whole or floating-point numbers.")
    if voxels.dtype.kind == "f" and not np.isfinite(voxels).all():
        count = int(voxels.size - np.isfinite(voxels).sum())
        problem = f"a volume with {count} of {voxels.size} values that are no finite number"
        raise UserError(problem, "Replace them, e.g. by -1024 HU outside the field of view.")


def _check_affine(affine: np.ndarray) -> None:
    matrix = np.asarray(affine, np.float64) if affine is not None else np.empty(0)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise UserError("a volume needs an affine of 4 x 4 finite numbers", "It maps voxel indices to mm, RAS+.")
    lengths = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if (lengths <= 0).any():
        sizes = ", ".join(f"{length:g}" for length in lengths)
        raise UserError(f"a volume has a spacing that is not positive ({sizes} mm)", "Give the voxel size in the affine.")
    directions = matrix[:3, :3] / lengths
    if np.abs(directions.T @ directions - np.eye(3)).max() > LARGEST_SKEW:
        raise _skewed()


def _skewed() -> UserError:
    return UserError("a volume's axes are not perpendicular (a tilted gantry?)", "Resample it to a straight grid first.")


def _several(path: Path, shape: tuple[int, ...]) -> UserError:
    return UserError(f"{path} is no single volume of three axes (shape {tuple(shape)})", "Write one volume per file.")


def _itk_type(voxels: np.ndarray) -> np.ndarray:
    """Native byte order, and a type that holds all values and that ITK resamples."""
    kinds = {"b1": np.uint8, "u2": np.int32, "u4": np.int64, "u8": np.int64, "f2": np.float32}
    native = voxels.dtype.newbyteorder("=")
    return voxels.astype(kinds.get(f"{native.kind}{native.itemsize}", native), copy=False)
