"""The organs between and below the lungs: heart, great vessels, spine, stomach."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from lingula.data.phantom.anatomy import HILUM, SIDES, VERTEBRAE, Shape, Side, sign
from lingula.data.phantom.grid import Point
from lingula.data.phantom.scene import BLOOD, SOFT, Key, Scene
from lingula.data.phantom.shapes import Capsule, Column, Cover, Ellipsoid, Solid


def heart_solids(shape: Shape, size: float) -> list[Ellipsoid]:
    """Return the chambers that make the heart's outline, for a heart `size` times the average width."""
    a = shape.anatomy
    up, shift = shape.lift, a.heart_shift
    tall = 1 + 0.55 * (size - 1)
    left = Ellipsoid((-25 * size + shift, 20, -46 + up), (54 * size, 44 * tall, 41 * tall), a.heart_tilt)
    atrium = Ellipsoid((13 * size + shift, 8, -32 + up), (27 * size, 32 * tall, 39 * tall), 0.0)
    back = Ellipsoid((-4 + shift, -22, -14 + up), (34 * size, 24 * tall, 24 * tall), 0.0)
    outflow = Ellipsoid((-14 + shift, 26, 8 + 0.6 * up), (26 + 8 * (size - 1), 24, 34), -0.45)
    middle = Ellipsoid((-6 * size + shift, 26, -46 + up), (46 * size, 36 * tall, 40 * tall), 0.3)
    return [left, atrium, back, outflow, middle]


def aorta_course(shape: Shape) -> list[Point]:
    """Return the centre line of the aorta from its root over the arch to the beginning of its descending part, mm."""
    a = shape.anatomy
    u, lift = a.aorta_unfolding, 0.5 * (13 - a.aorta_radius)
    arch = [(12.0, 22.0, 4.0), (17.0 + 7 * u, 22.0, 30.0), (13.0 + 5 * u, 17.0, 50.0), (0.0, 8.0, 62.0 + 5 * u)]
    knob = [(-14.0 - 4 * u, -8.0, 64.0 + 6 * u), (-22.0 - 6 * u, -26.0, 57.0 + 5 * u), (-25.0 - 9 * u, -40.0, 42.0)]
    return [(x + lift * (x < -10), y, z) for x, y, z in arch + knob]


def descending_aorta(shape: Shape) -> Column:
    """Return the descending aorta."""
    a = shape.anatomy
    u, r = a.aorta_unfolding, 0.88 * a.aorta_radius
    x = (-9.0, -15.0 - 3 * u, -21.0 - 9 * u, -24.0 - 11 * u, -25.0 - 9 * u)
    return Column((-260.0, -85.0, -40.0, 8.0, 44.0), x, (-42.0, -46.0, -48.0, -46.0, -40.0), (r,) * 5, (r,) * 5)


def paint_organs(scene: Scene, healthy_heart: float, heart_key: Key | None) -> None:
    """Paint mediastinum, heart, aorta, large vessels, spine and the gas below the left dome."""
    shape = scene.shape
    a = shape.anatomy
    m = a.mediastinum
    t = a.trachea_shift
    core = Column(
        (-260, -120, -20, 30, 80, 125, 170, 260),
        (0, 0, 0, 0, 1, 1, t, t),
        (-34, -34, -30, -18, -6, -6, -12, -15),
        (0.6 * m, 0.6 * m, 0.72 * m, 0.95 * m, m, 0.85 * m, 1.4 * m, 1.6 * m),
        (30, 30, 34, 38, 38, 34, 36, 40),
    )
    scene.paint_solids([core], 0.985)
    points = aorta_course(shape)
    tube: list[Solid] = [Capsule(p, q, a.aorta_radius) for p, q in pairwise(points)]
    cava = Column((12, 40, 100, 110), (0.95 * m, 0.95 * m, 0.92 * m, 0.7 * m), (2, 3, 4, 4), (9.5,) * 4, (9.5,) * 4)
    scene.paint_solids([*tube, descending_aorta(shape), cava, *_pulmonary_trunk(shape)], BLOOD)
    chambers = heart_solids(shape, shape.heart if heart_key else healthy_heart)
    scene.paint_solids(chambers, SOFT, heart_key)
    if a.fat_pad > 4:
        pads = [
            Ellipsoid((-52.0 * shape.heart, 48, shape.dome["left"] + 2), (a.fat_pad * 1.3, 24, a.fat_pad)),
            Ellipsoid((38.0 * shape.heart, 50, shape.dome["right"] + 1), (a.fat_pad, 22, 0.8 * a.fat_pad)),
        ]
        for pad in pads:
            scene.paint_solids([pad], 0.92)
    _paint_spine(scene)
    _paint_gas(scene)


def _pulmonary_trunk(shape: Shape) -> list[Capsule]:
    gain = shape.vessel_gain
    trunk = (-20.0, 14.0, 26.0)
    solids = [Capsule((-8.0, 24.0, 2.0), trunk, 13.5 * gain)]
    for side in SIDES:
        hilum = HILUM[side]
        solids.append(Capsule(trunk, hilum, 9.5 * gain))
        low = (hilum[0] + sign(side) * 5, hilum[1] - 4, hilum[2] - 26)
        solids.append(Capsule(hilum, low, 7.0 * gain))
    return solids


def _paint_spine(scene: Scene) -> None:
    a = scene.shape.anatomy
    box = scene.grid.box((-30.0, -95.0, -260.0), (30.0, -38.0, 260.0))
    if box is None:
        return
    x, y, z = scene.grid.at(box)
    centre_x, centre_y = scene.shape.spine(z)
    width = 15 + 4.5 * np.clip((120 - z) / 250, 0, 1)
    level = ((x - centre_x) / width) ** 2 + ((y - centre_y) / 15.5) ** 2
    phase = np.abs((z - VERTEBRAE[0]) / 22.5 - np.round((z - VERTEBRAE[0]) / 22.5)) * 22.5
    body = np.clip((9.4 - phase) / 2.5 + 0.5, 0, 1)
    plate = np.exp(-(((phase - 8.6) / 1.6) ** 2))
    value = (1.06 + a.bone * (0.15 + 0.2 * plate) * body).astype(np.float32)
    rim = np.exp(-(((level - 0.9) / 0.22) ** 2)) * np.float32(0.1 * a.bone)
    distance = (np.sqrt(level) - 1) * np.float32(15)
    share = np.clip(0.5 - distance / np.float32(min(scene.grid.softness, 6.0)), 0, 1)
    scene.paint(Cover(box, share.astype(np.float32)), value + rim.astype(np.float32))


def _paint_gas(scene: Scene) -> None:
    a = scene.shape.anatomy
    side: Side = "left"
    top = scene.shape.dome[side]
    if a.stomach_gas > 6:
        r = a.stomach_gas
        scene.paint_solids([Ellipsoid((-56, 12, top - 13 - 0.62 * r), (r * 1.15, r, 0.62 * r))], 0.02)
    if a.colon_gas > 8:
        scene.paint_solids([Ellipsoid((-92, 28, top - 34 - a.colon_gas), (a.colon_gas * 1.2, 18, a.colon_gas))], 0.05)
