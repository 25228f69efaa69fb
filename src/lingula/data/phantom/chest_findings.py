"""Findings of heart, mediastinum and chest wall, and all findings that are made of rods."""

from __future__ import annotations

import numpy as np

from lingula.data.phantom.anatomy import HILUM, SIDES, Shape, Side, sign
from lingula.data.phantom.findings import Fact
from lingula.data.phantom.organs import aorta_course, descending_aorta
from lingula.data.phantom.places import generator_of, point_in_lobe, points_in_lung
from lingula.data.phantom.rods import Doubles, Rods, balls, join, path, rods, within
from lingula.data.phantom.scene import Key, Scene
from lingula.data.phantom.shapes import Cover, Ellipsoid, soften
from lingula.data.phantom.skeleton import bone_rods, rib_courses


def paint_wide_mediastinum(scene: Scene, fact: Fact, index: int) -> None:
    """Extra soft tissue on both sides of the upper mediastinum."""
    half = scene.shape.anatomy.mediastinum + fact.size
    side = 4 * (fact.spot[0] - 0.5)
    scene.paint_solids(
        [Ellipsoid((side, 2, 66), (half, 30, 52)), Ellipsoid((side, 2, 96), (half * 0.85, 26, 48))], 1.02, (index, "middle")
    )


def paint_nodes(scene: Scene, fact: Fact, index: int) -> None:
    """Enlarged, lumpy hilar lymph nodes."""
    g = generator_of(fact)
    r = fact.size / 2
    for side in fact.sides:
        hilum = np.add(HILUM[side], (sign(side) * (8 + 0.4 * r), 4, -6))
        centres = hilum + g.normal(0, 0.5, (4, 3)) * (0.7 * r, 0.7 * r, 1.1 * r)
        solids = [Ellipsoid(tuple(centre), tuple(r * g.uniform(0.6, 0.85, 3))) for centre in centres]
        scene.paint_solids(solids, 1.03, (index, side))


def paint_hernia(scene: Scene, fact: Fact, index: int) -> None:
    """Stomach behind the heart, with gas above a fluid level."""
    r = fact.size
    up = scene.shape.lift
    centre = (-10 - 16 * fact.spot[0], -34, -80 + up + 0.75 * r)
    covered = scene.paint_solids([Ellipsoid(centre, (1.05 * r, 0.8 * r, 0.92 * r))], 1.02, (index, "middle"))
    if covered is None:
        return
    z = scene.grid.at(covered.box)[2]
    above = soften(np.asarray(centre[2] + r * (0.5 * fact.spot[1] - 0.25) - z, dtype=np.float32), scene.grid.softness)
    gas = np.clip(covered.share * 2 - 1, 0, 1) * above
    scene.paint(Cover(covered.box, gas), 0.02)


def finding_rods(shape: Shape, fact: Fact, index: int) -> dict[Key, Rods]:
    """Return what a finding adds in rods, by part; empty where it is painted instead."""
    maker = _RODS.get(fact.finding)
    if maker is None:
        return {}
    return {(index, side): group for side, group in maker(shape, fact).items() if len(group)}


def broken_ribs(fact: Fact) -> tuple[tuple[Side, int], ...]:
    """Return side and number (0 is the first) of the ribs that a fracture breaks."""
    first = 3 + int(fact.spot[0] * 4.99)
    return tuple((side, first + i) for side in fact.sides for i in range(fact.count))


def fracture_bones(shape: Shape, fact: Fact, *, fine: bool) -> Rods:
    """Return the broken ribs: the front part is displaced at the break."""
    parts = []
    courses, normals = rib_courses(shape)
    for side, rib in broken_ribs(fact):
        points, normal = courses[SIDES.index(side), rib], normals[SIDES.index(side), rib]
        at = _break(fact, rib)
        slip = np.exp(-np.maximum(np.arange(len(points)) - at, 0) / 3.0)[:, None]
        moved = points + np.where(np.arange(len(points))[:, None] >= at, slip, 0) * (normal * -8.0 + np.array([0, 0, -12.0]))
        back, front = slice(0, at), slice(at, None)
        start = points[at - 1] + 0.72 * (points[at] - points[at - 1])
        parts.append(
            bone_rods(
                shape, np.concatenate([points[back], start[None]]), np.concatenate([normal[back], normal[at][None]]), fine=fine
            )
        )
        parts.append(bone_rods(shape, moved[front], normal[front], fine=fine))
    return join(parts)


def _break(fact: Fact, rib: int) -> int:
    return 5 + int((fact.spot[1] * 4 + 0.35 * rib) % 4)


def _callus(shape: Shape, fact: Fact) -> dict[str, Rods]:
    result: dict[str, list[Doubles]] = {}
    courses, _ = rib_courses(shape)
    for side, rib in broken_ribs(fact):
        result.setdefault(side, []).append(courses[SIDES.index(side), rib, _break(fact, rib)] + np.array([0, 0, -3.0]))
    size = (11.0, 13.0, 15.0)[fact.severity]
    value = 1 + 0.9 * shape.anatomy.bone
    return {
        side: balls(np.array(at), np.tile([size, 0.7 * size, 0.85 * size], (len(at), 1)), value) for side, at in result.items()
    }


def _nodules(shape: Shape, fact: Fact) -> dict[str, Rods]:
    g = generator_of(fact)
    side = fact.sides[0]
    spots = [fact.spot] + [tuple(g.random(3)) for _ in range(fact.count - 1)]
    size = np.array([fact.size] + [float(g.uniform(0.6, 1) * fact.size) for _ in spots[1:]])
    centre = np.array([point_in_lobe(shape, side, fact.lobe, spot, 8 + fact.size / 2) for spot in spots])
    value = 1.9 if g.random() < 0.4 else 1.1
    return {side: balls(centre, (size / 2)[:, None] * g.uniform(0.88, 1.0, (len(size), 3)), value)}


def _bands(shape: Shape, fact: Fact) -> dict[str, Rods]:
    if fact.kind != "linear":
        return {}
    result: dict[str, Rods] = {}
    for side in fact.sides:
        g = generator_of(fact, 1 if side == "right" else 2)
        count = 1 + fact.severity
        s = sign(side)
        start = np.stack(
            [s * g.uniform(38, 60, count), g.uniform(-25, 25, count), shape.dome[side] + g.uniform(10, 48, count)], axis=1
        )
        tilt = g.uniform(-0.35, 0.35, count)
        length = np.minimum(fact.size * g.uniform(0.8, 1.1, count), 118 - np.abs(start[:, 0]))
        end = start + length[:, None] * np.stack([s * np.cos(tilt), 0 * tilt, np.sin(tilt)], axis=1)
        up = np.tile([0.0, 0.0, 1.0], (count, 1))
        result[side] = rods(start, end, 2.9 + 0.7 * fact.severity, 1.0, height=22.0, normal=up)
    return result


def _septal_lines(shape: Shape, fact: Fact) -> dict[str, Rods]:
    result: dict[str, Rods] = {}
    for side in fact.sides:
        g = generator_of(fact, 3 if side == "right" else 4)
        count = (9, 14, 22)[fact.severity]
        z = shape.dome[side] + g.uniform(-20, 55, count)
        y = g.uniform(-45, 50, count)
        centre, half, depth, middle = (np.asarray(part, dtype=np.float64) for part in shape.lung_profile(z.astype(np.float32)))
        wall = centre + half * np.sqrt(np.clip(1 - ((y - middle) / depth) ** 2, 0.1, 1))
        start = np.stack([sign(side) * (wall - 2), y, z], axis=1)
        end = start - np.stack([sign(side) * g.uniform(11, 20, count), g.normal(0, 2, count), g.normal(0, 2, count)], axis=1)
        result[side] = rods(start, end, 0.8, 0.95, height=3.0, normal=np.tile([0.0, 0.0, 1.0], (count, 1)))
    return result


def _net(shape: Shape, fact: Fact) -> dict[str, Rods]:
    result: dict[str, Rods] = {}
    for side in fact.sides:
        g = generator_of(fact, 5 if side == "right" else 6)
        points = points_in_lung(shape, side, (260, 420, 640)[fact.severity], g, -0.25, (0.3, 0.42, 0.6)[fact.severity])
        x, y, z = points.T.astype(np.float32)
        level = shape.pleural_level(side, x, y, z)
        keep = (level > 0.45) & (level < 0.97) & (z > shape.dome_height(side, x, y))
        points = points[keep]
        reach = g.normal(0, 1, points.shape)
        reach *= (g.uniform(5, 10, len(points)) / np.linalg.norm(reach, axis=1))[:, None]
        result[side] = rods(points - reach, points + reach, g.uniform(1.2, 2.1, len(points)), 1.0, aerated=True)
    return result


def _spicules(shape: Shape, fact: Fact) -> dict[str, Rods]:
    g = generator_of(fact, 7)
    side = fact.sides[0]
    centre = point_in_lobe(shape, side, fact.lobe, fact.spot, fact.size * 0.45)
    way = g.normal(0, 1, (12, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    start, end = centre + way * fact.size * 0.4, centre + way * fact.size * g.uniform(0.6, 0.85, (12, 1))
    return {side: rods(start, end, 0.9, 1.0, aerated=True)}


def _plaques(shape: Shape, fact: Fact) -> dict[str, Rods]:
    g = generator_of(fact)
    course = np.array(aorta_course(shape))
    r, down = shape.anatomy.aorta_radius, descending_aorta(shape)
    parts = []
    for number in range(3 + 2 * fact.severity):
        if number % 3 == 2:  # along the left border of the descending aorta
            z = g.uniform(5, 35) - np.linspace(0, 22, 4)
            line = np.stack([np.interp(z, down.z, down.x) - 0.87 * r, np.interp(z, down.z, down.y), z], axis=1)
            normal = np.tile([1.0, 0.0, 0.0], (3, 1))
        else:  # around the arch
            centre = (course[4] + course[5]) / 2 + (0, g.uniform(-6, 6), -1)
            angle = g.uniform(-0.6, 1.2) + np.linspace(0, g.uniform(0.7, 1.2), 5)
            spoke = np.stack([-np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
            line, normal = centre + r * spoke, (spoke[:-1] + spoke[1:]) / 2
        parts.append(path(line, 2.2 + 0.5 * fact.severity, 2.8, height=12.0 + 3 * fact.severity, normal=normal))
    return {"middle": join(parts)}


def _devices(shape: Shape, fact: Fact) -> dict[str, Rods]:
    g = generator_of(fact)
    side: Side = fact.sides[0] if fact.sides else SIDES[0]
    s, depth = sign(side), shape.anatomy.lung_depth
    wander = g.normal(0, 3, 3)
    skin = depth * 0.85 + 0.5 * shape.anatomy.fat
    if fact.kind == "pacemaker":
        box = np.array([(s * 96, skin - 6, 112), (s * 100, skin - 4, 64)]) + wander
        lead = [
            (s * 90, skin - 8, 104),
            (s * 84, 50, 118),
            (s * 40, 30, 112),
            (24, 8, 86),
            (26, 5, 30),
            (30, 12, -12),
            (8, 34, -44),
            (-34 * shape.heart, 44, -62),
        ]
        lift = np.array([(0, 0, 0)] * 5 + [(0, 0, shape.lift)] * 3)
        wires = np.array(lead, dtype=float) + lift
        atrial = np.array([wires[4] + np.array([2.0, 2, 0]), (34, 18, -8 + shape.lift), (38, 30, 6 + shape.lift)])
        case = rods(box[:1], box[1:], 3.6, 9.0, height=21.0, normal=np.array([[0.0, 1.0, 0.0]]))
        group = join([case, path(wires, 1.0, 9.0), path(atrial, 1.0, 9.0)])
    elif fact.kind == "central venous catheter":
        tip = 8 + 40 * fact.spot[0]
        jugular = [(s * 34, 14, 190), (s * 36, 12, 140), (22 if s > 0 else -8, 10, 104), (23, 4, 80), (23 + wander[0], 3, tip)]
        group = path(np.array(jugular, dtype=float), 1.5, 7.0)
    elif fact.kind == "endotracheal tube":
        shift = shape.anatomy.trachea_shift
        above = 46 + 30 * fact.spot[0]
        line = np.array([(0, 2, 230), (shift * 0.6 + 3, -7, 130), (shift + 3, -14, above)], dtype=float)
        group = join([within(path(line, 4.6, 0.2), 0.0), path(line + np.array([3.0, 0, 0]), 1.1, 3.6)])
    elif fact.kind == "nasogastric tube":
        end = (-58.0 + wander[0], 14.0, shape.dome["left"] - 34)
        line = np.array(
            [(-2, -8, 230), (-5, -30, 120), (-6, -36, 20), (-10, -40, -60), (-22, -30, shape.dome["left"] - 12), end], dtype=float
        )
        group = path(line, 2.2, 4.0)
    else:
        line = np.array([(s * 175, -25, -50), (s * 122, -28, -22), (s * 100, -34, 30), (s * 74, -30, 84)], dtype=float) + wander
        group = join([path(line, 4.4, 1.15), path(line + np.array([0, 4.0, 0]), 1.0, 3.6)])
    return {side if fact.sides else "middle": group}


_RODS = {
    "Aortic Calcification": _plaques,
    "Atelectasis": _bands,
    "Edema": _septal_lines,
    "Fibrosis": _net,
    "Lung Mass": _spicules,
    "Lung Nodule": _nodules,
    "Rib Fracture": _callus,
    "Support Devices": _devices,
}
MADE_OF_RODS = frozenset({"Aortic Calcification", "Lung Nodule", "Rib Fracture", "Support Devices"})
"""Findings whose mask is that of their rods, beside linear atelectasis; other rods are texture inside a painted mask."""


def variants(shape: Shape) -> list[Rods]:
    """Return harmless things that look like findings: nipple shadows, a calcified granuloma, the horizontal fissure."""
    a = shape.anatomy
    g = np.random.default_rng((a.seed, 9))
    parts: list[Rods] = []
    fissure = np.array([(30.0, 32.0, 6.0), (70.0, 34.0, 9.0), (112.0, 30.0, 6.0)])
    if g.random() < 0.4:
        parts.append(path(fissure, 0.3, 0.8, height=24.0, normal=(0.0, 0.0, 1.0)))
    if a.nipples:
        z = -28 - a.breast_droop + g.normal(0, 4)
        front = a.lung_depth + 0.4 * a.fat + (0.95 * a.breast if a.breast else 12)
        parts.append(balls(np.array([(s * (84 + g.normal(0, 5)), front, z) for s in (1, -1)]), np.full((2, 3), 5.0), 1.0))
    if a.granuloma:
        side = SIDES[int(g.integers(2))]
        at = point_in_lobe(shape, side, ("upper", "lower")[int(g.integers(2))], tuple(g.random(3)), 12.0)
        parts.append(balls(at[None], np.full((1, 3), float(g.uniform(2, 3.2))), 2.2))
    return parts


def mask_rods(fact: Fact) -> bool:
    """Tell whether the rods of a finding are its mask."""
    return fact.finding in MADE_OF_RODS or (fact.finding == "Atelectasis" and fact.kind == "linear")
