"""Radiograph against a ray march through the volume; masks, sides, menisci."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lingula.data.phantom.findings import FINDINGS, Fact
from lingula.data.phantom.grid import regular_grid
from lingula.data.phantom.patient import Patient, sample_patient
from lingula.data.phantom.render import integrals, place, render_radiograph, render_volume, tissue

DIGEST = """
import hashlib
from lingula.data.phantom.patient import sample_patient
from lingula.data.phantom.render import render_radiograph
pictures = [render_radiograph(sample_patient(5, "test", n, 0), "PA", 96).pixels for n in range(4)]
print(hashlib.sha256(b"".join(picture.tobytes() for picture in pictures)).hexdigest())
"""


def with_finding(finding: str, sides: tuple[str, ...] = ("right", "left"), skip: int = 0) -> tuple[Patient, Fact]:
    """Return a patient with one finding only, on one side where it has one."""
    for number in range(4000):
        patient = sample_patient(11, "train", number, 0)
        fact = patient.fact(finding)
        if fact is not None and (fact.side in sides or fact.side == "middle" or (finding in ("Edema", "Emphysema"))):
            if skip:
                skip -= 1
                continue
            return replace(patient, facts=(fact,)), fact
    raise AssertionError(finding)


@pytest.mark.parametrize(("view", "finding"), [("PA", "Lung Mass"), ("lateral", "Pleural Effusion")])
def test_radiograph_is_the_line_integral_of_the_volume(view: str, finding: str) -> None:
    patient, _ = with_finding(finding)
    placement = place(patient, view, 96, np.random.default_rng(3))  # type: ignore[arg-type]
    fast, _ = integrals(patient, placement)
    spacing = 3.0
    low = np.array([-290.0, -190.0, -240.0])
    values, _ = tissue(patient, regular_grid(tuple(low), (290.0, 240.0, 240.0), spacing))
    beam = placement.beam
    rows, columns = np.meshgrid(np.arange(10, 86, 5), np.arange(10, 86, 5), indexing="ij")
    end = np.empty((*rows.shape, 3))
    end[..., beam.depth_axis], end[..., beam.column_axis], end[..., 2] = beam.detector, beam.columns[columns], beam.rows[rows]
    ray = end - np.array(beam.source)
    length = np.linalg.norm(ray, axis=-1)
    step = 1.0
    slow = np.zeros(rows.shape)
    for travelled in np.arange(length.min() - 800, length.max(), step):
        at = (np.array(beam.source) + ray * (travelled / length)[..., None] - low) / spacing
        index = np.rint(at).astype(int)
        inside = np.all((index >= 0) & (index < values.shape), axis=-1) & (travelled <= length)
        index = np.where(inside[..., None], index, 0)
        slow += step * inside * values[index[..., 0], index[..., 1], index[..., 2]]
    quick = fast[rows, columns]
    assert np.corrcoef(slow.ravel(), quick.ravel())[0, 1] > 0.995
    assert np.median(np.abs(slow - quick)) < 0.02 * slow.max()
    assert abs(slow.mean() / quick.mean() - 1) < 0.015


@pytest.mark.parametrize("finding", FINDINGS)
def test_mask_holds_what_the_finding_changed(finding: str) -> None:
    patient, _ = with_finding(finding)
    found, masks = render_volume(patient, 3.0, noise=False)
    healthy, nothing = render_volume(patient.healthy(), 3.0, noise=False)
    assert set(masks) == {finding}
    assert nothing == {}
    mask = masks[finding]
    assert mask.shape == found.shape
    assert mask.sum() >= 8
    changed = np.abs(found - healthy) > 1.0
    if finding == "Cardiomegaly":  # the mask is the whole heart
        assert (changed & mask).sum() > 0.75 * changed.sum()
        assert mask.sum() > 1.3 * changed.sum()
    else:
        assert changed[mask].mean() > 0.99
    if finding == "Lung Nodule":
        np.testing.assert_array_equal(changed, mask)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "finding", ["Pleural Effusion", "Pneumothorax", "Consolidation", "Lung Nodule", "Rib Fracture", "Pleural Thickening"]
)
def test_mask_lies_on_the_side_of_the_fact(finding: str, side: str) -> None:
    patient, _ = with_finding(finding, sides=(side,))
    _, masks = render_volume(patient, 4.0, noise=False)
    middle = (masks[finding].shape[0] - 1) / 2
    right = np.flatnonzero(masks[finding].any(axis=(1, 2))) > middle  # RAS+: x grows to the patient's right
    assert right.mean() > 0.9 if side == "right" else right.mean() < 0.1
    picture = render_radiograph(patient, "PA", 96)
    box = picture.regions[0].box
    centre = (box[0] + box[2]) / 2
    assert (centre < 50) if side == "right" else (centre > 46)


@pytest.mark.parametrize("side", ["right", "left"])
def test_effusion_rises_towards_the_chest_wall(side: str) -> None:
    patient, fact = with_finding("Pleural Effusion", sides=(side,), skip=1)
    patient = replace(patient, facts=(replace(fact, size=70.0),))
    _, masks = render_volume(patient, 3.0, noise=False)
    mask = masks["Pleural Effusion"]
    depth = mask.shape[1] // 2
    sheet = mask[:, depth - 3 : depth + 4].any(axis=1)  # the coronal plane through the middle: `x z`
    x = np.flatnonzero(sheet.any(axis=1))
    top = np.array([np.flatnonzero(sheet[i]).max() for i in x])
    wall = x > np.quantile(x, 0.85) if side == "right" else x < np.quantile(x, 0.15)
    inner = ~wall & (np.abs(x - np.median(x)) < 6)
    assert top[wall].max() > top[inner].max() + 3


def test_projected_masks_fit_pixels_and_boxes() -> None:
    seen = set()
    for number in range(30):
        patient = sample_patient(2, "train", number, 0)
        picture = render_radiograph(patient, "PA", 96)
        assert picture.pixels.shape == (96, 96)
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.std() > 15
        for region, mask in zip(picture.regions, picture.masks, strict=True):
            assert mask is not None
            x1, y1, x2, y2 = (int(v) for v in region.box)
            assert mask[y1:y2, x1:x2].sum() == mask.sum() > 0
            seen.add(region.finding)
    assert len(seen) >= 14


def test_size_changes_the_detail_and_not_the_patient() -> None:
    patient = sample_patient(2, "train", 4, 0)
    placement = [place(patient, "PA", size, np.random.default_rng(1)) for size in (96, 192)]
    small, large = (integrals(patient, p)[0] for p in placement)
    mean = large.reshape(96, 2, 96, 2).mean(axis=(1, 3))
    assert np.corrcoef(mean.ravel(), small.ravel())[0, 1] > 0.995
    assert abs(mean.mean() / small.mean() - 1) < 0.02


def test_sixteen_bits_and_views() -> None:
    patient = sample_patient(2, "train", 3, 0)
    views = [render_radiograph(patient, view, 64, bit_depth=16).pixels for view in ("PA", "AP", "lateral")]  # type: ignore[arg-type]
    assert all(view.dtype == np.uint16 and view.max() > 40000 for view in views)
    assert len({view.tobytes() for view in views}) == 3


def test_anatomy_in_hounsfield_units() -> None:
    hounsfield, _ = render_volume(sample_patient(1, "train", 0, 0).healthy(), 4.0, noise=False)
    lung = (hounsfield > -930) & (hounsfield < -700)
    litres = lung.sum() * 4.0**3 / 1e6
    assert 2.5 < litres < 9
    assert (hounsfield > 300).sum() * 4.0**3 / 1e3 > 150  # bone, ml
    assert hounsfield.min() >= -1024


def test_other_process_renders_the_same_bytes() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    other = subprocess.run(
        [sys.executable, "-c", DIGEST], capture_output=True, text=True, check=True, env=environment
    ).stdout.strip()
    here = b"".join(render_radiograph(sample_patient(5, "test", n, 0), "PA", 96).pixels.tobytes() for n in range(4))
    assert other == hashlib.sha256(here).hexdigest()
