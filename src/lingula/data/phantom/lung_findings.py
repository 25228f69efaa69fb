"""Findings of lung and pleura, painted into the scene."""

from __future__ import annotations

import numpy as np

from lingula.data.phantom.anatomy import HILUM, Side, sign
from lingula.data.phantom.findings import Fact
from lingula.data.phantom.places import generator_of, lobe_distance, point_in_lobe
from lingula.data.phantom.scene import FLUID, Scene
from lingula.data.phantom.shapes import Cover, Ellipsoid, cover, soften


def paint_effusion(scene: Scene, fact: Fact, index: int) -> None:
    """Fluid with a meniscus that rises towards the chest wall."""
    for number, side in enumerate(fact.sides):
        height = fact.size * (1.0 if len(fact.sides) == 1 else 0.65 + 0.45 * fact.spot[number])
        base, rise = scene.shape.dome[side] - 62 + height, 20 + 0.4 * height
        part = scene.lung_between(side, -1e5, base + rise + 2 * scene.grid.softness)
        if part is None:
            continue
        aside = np.clip((np.abs(part.x) - np.float32(15)) / np.float32(60), 0, 1)
        surface = np.minimum(part.level, np.float32(1))
        surface *= surface * surface
        surface *= aside * np.float32(-rise)
        surface += part.z - np.float32(base)
        surface *= np.float32(0.75)
        scene.fill_lung(Cover(part.box, soften(surface, scene.grid.softness)), FLUID, (index, side))


def paint_pneumothorax(scene: Scene, fact: Fact, index: int) -> None:
    """Free air around a retracted lung, with the thin line of its pleura."""
    shape = scene.shape
    for side in fact.sides:
        region = scene.lung_between(side, -1e5, 1e5)
        if region is None:
            continue
        bottom, top = shape.dome[side] - 20, shape.anatomy.apex
        gap = fact.size * (0.25 + 0.85 * np.clip((region.z - bottom) / (top - bottom), 0, 1))
        inner = np.maximum(1 - gap / 62, 0.3).astype(np.float32)
        distance = region.level - inner * inner
        distance *= 31 / inner
        width = max(scene.grid.softness * 0.6, 1.0)
        line = np.exp(-((distance / np.float32(width)) ** 2)) * np.float32(min(1.0, 1.7 / (1.77 * width)))
        air = soften(-distance, scene.grid.softness)
        box = region.box
        scene.fill_lung(Cover(box, air), 0.0, (index, side))
        squeeze = 1 + 0.7 * fact.size / 65
        part, lung = scene.value[box], scene.lung[box]
        part += lung * np.float32(shape.lung_attenuation * (squeeze - 1))
        part += line * (lung + air) * (scene.value[box] < 0.6)


def paint_consolidation(scene: Scene, fact: Fact, index: int) -> None:
    """Airless lung with a ragged edge, bounded by the fissures of its lobe."""
    side: Side = fact.sides[0]
    g = generator_of(fact)
    centre = point_in_lobe(scene.shape, side, fact.lobe, fact.spot, 0.5 * fact.size)
    solids = [Ellipsoid(tuple(centre), tuple(fact.size * g.uniform(0.7, 1.0, 3)), float(g.uniform(-0.6, 0.6)))]
    for _ in range(5):
        radii = fact.size * g.uniform(0.3, 0.6, 3)
        solids.append(Ellipsoid(tuple(centre + g.normal(0, 0.55, 3) * fact.size), tuple(radii)))
    covered = cover(scene.grid, solids)
    if covered is None:
        return
    x, y, z = scene.grid.at(covered.box)
    share = covered.share * soften(lobe_distance(fact.lobe, y, z), scene.grid.softness)
    across = np.sin(x / np.float32(g.uniform(7, 12)) + np.float32(g.uniform(0, 6)))
    patchy = np.float32(0.86) + np.float32(0.14) * across * np.sin(z / np.float32(g.uniform(7, 12)))
    scene.fill_lung(Cover(covered.box, share), patchy, (index, side))


def paint_basal_atelectasis(scene: Scene, fact: Fact, index: int) -> None:
    """Airless lung on top of a raised hemidiaphragm; linear atelectasis is made of rods instead."""
    if fact.kind != "basal":
        return
    for side in fact.sides:
        tall = (20, 29, 40)[fact.severity]
        part = scene.lung_between(side, -1e5, scene.shape.dome[side] + tall + 2 * scene.grid.softness)
        if part is None:
            continue
        place = np.float32(sign(side) * (50 + 40 * fact.spot[0]))
        profile = np.exp(-(((part.x - place) / np.float32(38)) ** 2))
        top = scene.shape.dome_height(side, part.x, part.y) + np.float32(tall) * profile
        cut = (part.z - top).astype(np.float32)
        cut *= np.float32(0.8)
        scene.fill_lung(Cover(part.box, soften(cut, scene.grid.softness)), 0.72, (index, side))


def paint_edema(scene: Scene, fact: Fact, index: int) -> None:
    """Haze around the hila."""
    shape = scene.shape
    extra = (0.06, 0.1, 0.17)[fact.severity]
    for side in fact.sides:
        hx, hy, hz = HILUM[side]
        tall = 55 + 8 * fact.severity
        part = scene.lung_between(side, hz - 22 - 2 * tall, hz - 22 + 2 * tall)
        if part is None:
            continue
        cloud = _bell(part.x, hx + sign(side) * 20, 38 + 8 * fact.severity) * (_bell(part.y, hy, 70.0) * np.float32(1.5))
        share = cloud * _bell(part.z, hz - 22, tall)
        np.minimum(share, np.float32(1), out=share)
        scene.fill_lung(Cover(part.box, share), shape.lung_attenuation + extra, (index, side), keeps_air=True)


def paint_emphysema(scene: Scene, fact: Fact, index: int) -> None:
    """Destroyed, dark upper zones, with bullae where it is severe."""
    shape = scene.shape
    g = generator_of(fact)
    left = (0.74, 0.62, 0.5)[fact.severity]
    for side in fact.sides:
        begin = 20 - 25 * fact.severity
        part = scene.lung_between(side, begin - 16, 1e5)
        if part is None:
            continue
        height = (part.z - begin) / np.float32(30)
        share = np.broadcast_to(np.clip(height + 0.5, 0, 1).astype(np.float32), part.level.shape)
        value = max(shape.lung_attenuation * left, 0.055)
        scene.fill_lung(Cover(part.box, share), value, (index, side), keeps_air=True)
        for _ in range((0, 1, 3)[fact.severity]):
            spot = (float(g.uniform(0.3, 1)), float(g.random()), float(g.uniform(0.4, 1)))
            r = float(g.uniform(11, 22))
            covered = cover(scene.grid, [Ellipsoid(tuple(point_in_lobe(shape, side, "upper", spot, r * 0.8)), (r, r, r))])
            if covered is not None:
                scene.fill_lung(covered, 0.02, (index, side))


def paint_fibrosis(scene: Scene, fact: Fact, index: int) -> None:
    """Dense periphery of the bases; the net of lines in it is made of rods."""
    shape = scene.shape
    for side in fact.sides:
        top = shape.dome[side] + (38, 58, 85)[fact.severity]
        part = scene.lung_between(side, -1e5, top)
        if part is None:
            continue
        edge = np.clip((part.level - np.float32(0.42 - 0.08 * fact.severity)) * np.float32(4), 0, 1)
        low = np.clip((top - part.z) / np.float32(25), 0, 1)
        value = shape.lung_attenuation + (0.1, 0.16, 0.22)[fact.severity]
        scene.fill_lung(Cover(part.box, edge * low), value, (index, side), keeps_air=True)


def paint_pleural_thickening(scene: Scene, fact: Fact, index: int) -> None:
    """A soft rind along the apex or the lateral chest wall."""
    shape = scene.shape
    for side in fact.sides:
        start = shape.anatomy.apex - 26 - 9 * fact.severity
        middle, half = shape.dome[side] + 20 + 55 * fact.spot[0], 32 + 14 * fact.severity
        apical = fact.kind == "apical"
        part = scene.lung_between(side, start, 1e5) if apical else scene.lung_between(side, middle - half, middle + half)
        if part is None:
            continue
        if apical:
            thick = fact.size * 1.15 * np.clip((part.z - start) / np.float32(20), 0, 1)
        else:
            thick = fact.size * np.clip(1 - ((part.z - middle) / np.float32(half)) ** 2, 0, 1)
            thick = thick * np.clip((np.abs(part.x) - np.float32(58)) / np.float32(22), 0, 1)
        inner = 1 - thick / 62
        rind = np.asarray(part.level - inner * inner, dtype=np.float32)
        rind *= np.float32(-31)
        bounds = np.clip(thick / np.float32(2.5), 0, 1).astype(np.float32)
        share = soften(rind, min(scene.grid.softness, 2 * fact.size))
        scene.fill_lung(Cover(part.box, share * bounds), 0.98, (index, side))


def paint_mass(scene: Scene, fact: Fact, index: int) -> None:
    """A lobulated soft-tissue mass."""
    side = fact.sides[0]
    g = generator_of(fact)
    r = fact.size / 2
    centre = point_in_lobe(scene.shape, side, fact.lobe, fact.spot, r * 0.9)
    solids = [Ellipsoid(tuple(centre), tuple(r * g.uniform(0.85, 1.0, 3)))]
    for _ in range(3):
        radii = r * g.uniform(0.45, 0.65, 3)
        solids.append(Ellipsoid(tuple(centre + 0.55 * r * g.normal(0, 0.7, 3)), tuple(radii)))
    covered = cover(scene.grid, solids)
    if covered is not None:
        scene.fill_lung(covered, 1.03, (index, side))


def _bell(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Return a Gaussian bell of height 1."""
    bell: np.ndarray = np.exp(-(((values - np.float32(centre)) / np.float32(width)) ** 2))
    return bell
