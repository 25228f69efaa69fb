"""Pictures of a synthetic patient: the CT volume, and the radiograph as its Beer-Lambert cone-beam projection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lingula.core.types import Pixels, RegionMask, VolumeHU
from lingula.data.phantom.chest_findings import (
    broken_ribs,
    finding_rods,
    fracture_bones,
    mask_rods,
    paint_hernia,
    paint_nodes,
    paint_wide_mediastinum,
    variants,
)
from lingula.data.phantom.film import expose, sample_exposure
from lingula.data.phantom.grid import Beam, Floats, Grid, Point, beam_grid, regular_grid
from lingula.data.phantom.lung_findings import (
    paint_basal_atelectasis,
    paint_consolidation,
    paint_edema,
    paint_effusion,
    paint_emphysema,
    paint_fibrosis,
    paint_mass,
    paint_pleural_thickening,
    paint_pneumothorax,
)
from lingula.data.phantom.organs import paint_organs
from lingula.data.phantom.patient import Patient, healthy_heart, shape_of
from lingula.data.phantom.rasterise import rasterise
from lingula.data.phantom.rods import Rods, join, project, scaled
from lingula.data.phantom.scene import Key, Scene
from lingula.data.phantom.skeleton import skeleton
from lingula.data.phantom.vessels import airways, vessels
from lingula.data.study import Picture, Region, Scan
from lingula.data.volume_reader import Volume
from lingula.data.volume_storing import bounding_box

View = Literal["PA", "AP", "lateral"]
VIEW_CODES: dict[str, int] = {"PA": 1, "AP": 2, "lateral": 3}
CT_NOISE = 12.0
"""Standard deviation of the noise of the CT volume, HU."""
SHORTEST_PATH = {True: 1.0, False: 2.5}
"""A ray belongs to a projected mask from this length (mm) within the finding: for rods, for painted tissue."""
np.empty(31 << 20, dtype=np.uint8)  # freed at once: glibc then keeps blocks of up to this size, which saves a third of the time
_PAINTERS = {
    "Enlarged Cardiomediastinum": paint_wide_mediastinum,
    "Lymphadenopathy": paint_nodes,
    "Hiatal Hernia": paint_hernia,
    "Pneumothorax": paint_pneumothorax,
    "Emphysema": paint_emphysema,
    "Lung Mass": paint_mass,
    "Consolidation": paint_consolidation,
    "Atelectasis": paint_basal_atelectasis,
    "Pleural Thickening": paint_pleural_thickening,
    "Pleural Effusion": paint_effusion,
    "Edema": paint_edema,
    "Fibrosis": paint_fibrosis,
}
"""What paints each finding, in the order of painting: what comes first keeps the lung that it took."""


@dataclass(frozen=True)
class Placement:
    """How the patient stands before the detector; mm."""

    beam: Beam
    near: float
    far: float


def paint(patient: Patient, grid: Grid) -> Scene:
    """Paint everything but the rods on samples given in mm of the patient's own frame."""
    scene = Scene(grid.scaled(patient.anatomy.scale), shape_of(patient))
    scene.paint_body()
    scene.paint_lungs()
    names = [fact.finding for fact in patient.facts]
    heart_key = (names.index("Cardiomegaly"), "middle") if "Cardiomegaly" in names else None
    paint_organs(scene, healthy_heart(patient), heart_key)
    for finding, painter in _PAINTERS.items():
        if finding in names and scene.lung_box:
            index = names.index(finding)
            painter(scene, patient.facts[index], index)
    return scene


def anatomy_rods(patient: Patient, *, finest: float, fine: bool) -> Rods:
    """Return bones, vessels, airways and harmless variants, mm of the patient's frame."""
    shape = shape_of(patient)
    fracture = patient.fact("Rib Fracture")
    skip = frozenset(broken_ribs(fracture)) if fracture else frozenset()
    parts = [skeleton(shape, fine=fine, skip=skip), vessels(shape, finest=finest), airways(shape), *variants(shape)]
    if fracture:
        parts.append(fracture_bones(shape, fracture, fine=fine))
    return scaled(join(parts), patient.anatomy.scale)


def all_finding_rods(patient: Patient) -> dict[Key, Rods]:
    """Return the rods of all findings by part, mm of the patient's frame."""
    shape = shape_of(patient)
    result: dict[Key, Rods] = {}
    for index, fact in enumerate(patient.facts):
        for key, group in finding_rods(shape, fact, index).items():
            result[key] = scaled(group, patient.anatomy.scale)
    return result


def place(patient: Patient, view: View, size: int, generator: np.random.Generator) -> Placement:
    """Draw the geometry of a radiograph: distances, rotation, centring, field of view."""
    a, g = patient.anatomy, generator
    sx, sy, _ = a.scale
    bedside = view == "AP"
    wander = g.normal(0, 1, 6)
    throw = (1050 if bedside else 1800) + 40 * wander[0]
    gap = 150 + 12 * wander[1]
    middle = 4 + 12 * wander[2] * (1.5 if bedside else 1)
    wide = 2 * 132 * sx * throw / (throw - gap)
    field = float(np.clip(wide * (1.22 + 0.075 * wander[3]), 1.08 * wide, 480.0))
    turn = float(np.clip(wander[4], -2, 2)) * (0.055 if bedside else 0.042)
    lean = (0.03 + 0.05 * g.normal()) if bedside else 0.015 * g.normal()
    across = float(wander[5]) * (9 if bedside else 7)
    half = (np.arange(size) + 0.5) / size - 0.5
    rows = middle - half * field * 1.0
    wall = a.muscle + a.fat + 20
    if view == "lateral":
        reach = (a.chest_half_width + wall + 30) * sx
        gap = reach + 25 + abs(12 * wander[1])
        wide = 2 * 132 * sx * throw / (throw - gap)
        field = float(np.clip(wide * (1.22 + 0.075 * wander[3]), 1.08 * wide, 480.0))
        rows = middle - half * field
        source = (throw - gap, 5 + throw * turn * 0.5, middle + throw * lean)
        columns = 4 - half * field + 0.4 * across
        return Placement(Beam(source, 0, 1, -gap, columns, rows), -reach, reach)
    way = 1.0 if bedside else -1.0
    beam = Beam((throw * turn, way * (throw - gap), middle + throw * lean), 1, 0, -way * gap, across - half * field, rows)
    back = (a.lung_depth + 0.75 * wall + 6) * sy
    front = max(back, (a.lung_depth + 0.4 * a.fat + 0.95 * a.breast) * sy) + 4
    return Placement(beam, -back - 8, front)


def integrals(patient: Patient, placement: Placement) -> tuple[Floats, dict[Key, NDArray[np.bool_]]]:
    """Return the line integrals of relative attenuation (mm, `rows columns`) and the projected mask of each finding's part."""
    beam = placement.beam
    size = len(beam.rows)
    pitch = abs(float(beam.rows[1] - beam.rows[0]))
    depths = int(np.clip(22 + size / 8, 32, 100) * (1.4 if beam.depth_axis == 0 else 1.0))
    step = (placement.far - placement.near) / depths
    grid, step = beam_grid(beam, placement.near, placement.far, depths, max(0.65 * step, 1.1 * pitch))
    scene = paint(patient, grid)
    path = beam.path_length()
    total = scene.value @ np.full(depths, step, dtype=np.float32)
    total *= path
    own = all_finding_rods(patient)
    group = join([anatomy_rods(patient, finest=0.21 * pitch, fine=pitch < 2.2), *own.values()])
    total += project(group, beam, scene.value, placement.near, step)
    masks = {key: count * step * path > SHORTEST_PATH[False] for key, count in scene.lengths().items()}
    for key, rods in own.items():
        if mask_rods(patient.facts[key[0]]):
            masks[key] = project(rods, beam, None, placement.near, step) > SHORTEST_PATH[True]
    return total, masks


def render_radiograph(
    patient: Patient, view: View, size: int, *, bit_depth: int = 8, words: Mapping[int, tuple[str, int]] | None = None
) -> Picture:
    """Return a radiograph with the projected masks and boxes of its findings.

    Args:
        patient: Who.
        view: PA and AP show the patient's right on the image's left; lateral shows the front on the image's left.
        size: Rows and columns of the square image.
        bit_depth: 8 or 16.
        words: For the number of a fact, the words of the report that name it and the number of their sentence.
    """
    generator = np.random.default_rng((*patient.key, 7, VIEW_CODES[view]))
    placement = place(patient, view, size, generator)
    exposure = sample_exposure(generator, view == "AP", view == "lateral")
    total, masks = integrals(patient, placement)
    pixels: Pixels = expose(total, exposure, generator, bit_depth)
    regions: list[Region] = []
    kept: list[RegionMask | None] = []
    for (index, _), mask in sorted(masks.items()):
        box = box_of(mask)
        if box is None:
            continue
        phrase, sentence = (words or {}).get(index, ("", None))
        regions.append(Region(finding=patient.facts[index].finding, box=box, phrase=phrase, sentence_index=sentence))
        kept.append(mask)
    return Picture(pixels, regions, kept)


def box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """Return x1, y1, x2, y2 around a mask, or None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def volume_grid(patient: Patient, spacing: float) -> Grid:
    """Return the grid of a CT of the chest: voxel centres, RAS+, mm."""
    a = patient.anatomy
    wall = a.muscle + a.fat + 14
    sx, sy, sz = a.scale
    low: Point = (-(a.chest_half_width + wall) * sx, -(a.lung_depth + 0.75 * wall + 22) * sy, -165 * sz)
    front = max(a.lung_depth + 0.75 * wall, a.lung_depth + 0.4 * a.fat + 0.95 * a.breast) + 6
    return regular_grid(low, (-low[0], front * sy, (a.apex + 22) * sz), spacing)


def render_volume(patient: Patient, spacing: float, *, noise: bool = True) -> tuple[VolumeHU, dict[str, NDArray[np.bool_]]]:
    """Return the CT of a patient.

    Args:
        patient: Who.
        spacing: Edge of a cubic voxel, mm.
        noise: Whether to add the scanner's noise.

    Returns:
        The volume, `x y z` in RAS+ (HU, float32), and for each finding its mask of the same shape. The mask of cardiomegaly is
        the whole heart; every other mask holds only what the finding changed.
    """
    grid = volume_grid(patient, spacing)
    values, parts = tissue(patient, grid)
    masks: dict[str, NDArray[np.bool_]] = {}
    for (index, _), mask in parts.items():
        name = patient.facts[index].finding
        masks[name] = masks[name] | mask if name in masks else mask
    return _hounsfield(patient, values, noise), masks


def render_scan(patient: Patient, spacing: float, *, words: Mapping[int, tuple[str, int]] | None = None) -> Scan:
    """Return the CT of a patient with the masks and boxes of its findings; a part that fills no voxel by half has none.

    Args:
        patient: Who.
        spacing: Edge of a cubic voxel, mm.
        words: For the number of a fact, the words of the report that name it and the number of their sentence.
    """
    grid = volume_grid(patient, spacing)
    values, parts = tissue(patient, grid)
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = [float(each.flat[0]) for each in (grid.x, grid.y, grid.z)]
    scan = Scan(Volume(np.rint(_hounsfield(patient, values, noise=True)).astype(np.int16), affine))
    for (index, _), mask in sorted(parts.items()):
        if not mask.any():
            continue
        phrase, sentence = (words or {}).get(index, ("", None))
        name = patient.facts[index].finding
        scan.regions.append(Region(finding=name, box=bounding_box(mask), phrase=phrase, sentence_index=sentence))
        scan.masks.append(mask)
    return scan


def _hounsfield(patient: Patient, values: Floats, noise: bool) -> Floats:
    """Turn relative attenuation into Hounsfield units, with the scanner's noise or without."""
    hounsfield: Floats = (values - 1) * np.float32(1000)
    if noise:
        generator = np.random.default_rng((*patient.key, 8))
        hounsfield += np.float32(CT_NOISE) * generator.standard_normal(hounsfield.shape, dtype=np.float32)
    return np.maximum(hounsfield, np.float32(-1024))


def tissue(patient: Patient, grid: Grid) -> tuple[Floats, dict[Key, NDArray[np.bool_]]]:
    """Return the relative attenuation at every voxel and the mask of each finding's part."""
    scene = paint(patient, grid)
    healthy = rasterise(anatomy_rods(patient, finest=0.3 * grid.softness, fine=grid.softness < 2.2), grid, scene.value)
    masks = {key: mask & ~healthy for key, mask in scene.masks().items()}
    for key, group in all_finding_rods(patient).items():
        filled = rasterise(group, grid, scene.value)
        if mask_rods(patient.facts[key[0]]):
            masks[key] = filled
    return scene.value, masks
