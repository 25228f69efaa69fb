"""A picture of the phantom: radiographs, CT slices, regions and reports of a few patients."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lingula.core.files import atomic_file
from lingula.core.types import RegionMask
from lingula.data.phantom.render import render_volume
from lingula.data.phantom.source import PhantomSource
from lingula.data.study import Picture, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PATIENTS = 3
SPACING = 2.0
"""Voxel edge of the CT shown, mm."""


def preview(seed: int, path: Path) -> None:
    """Draw patients of the phantom into a PNG: PA and lateral radiograph at 512 px, three CT planes, regions and report.

    Args:
        seed: Seed of the phantom.
        path: PNG to write, atomically.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    source = PhantomSource(60, 0, 0, seed=seed, size=512, projections=("PA", "lateral"), bedside=False)
    studies = _choose(source)
    figure, rows = pyplot.subplots(
        2 * len(studies),
        5,
        figsize=(22, 6.2 * len(studies)),
        gridspec_kw={"height_ratios": [4.2, 1.5] * len(studies)},
        squeeze=False,
    )
    for number, study in enumerate(studies):
        _draw_study(source, study, rows[2 * number], rows[2 * number + 1])
    figure.suptitle("lingula phantom: synthetic patients, not real ones", fontsize=16, y=0.995)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.96, bottom=0.0, hspace=0.04, wspace=0.04)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=72, format="png")
    pyplot.close(figure)


def _choose(source: PhantomSource) -> list[Study]:
    """Return studies that show many findings between them; the first one is as healthy as there is."""
    studies = list(source)
    counts = [sum(value == 1 for value in study.labels.values()) for study in studies]
    order = np.argsort(counts, kind="stable")
    return [studies[order[0]], *(studies[i] for i in order[::-1][: PATIENTS - 1])]


def _draw_study(source: PhantomSource, study: Study, pictures: Any, texts: Any) -> None:
    for axes in (*pictures, *texts):
        axes.set_axis_off()
    names = [study.images[0].projection, "lateral"]
    for index, axes in enumerate(pictures[:2]):
        picture = source.read(study, index)
        axes.imshow(picture.pixels, cmap="gray")
        axes.set_title(f"{study.study_id}: {names[index]}")
        _draw_regions(axes, picture)
    patient = source.patient(study)
    hounsfield, masks = render_volume(patient, SPACING)
    union = np.any(list(masks.values()), axis=0) if masks else np.zeros(hounsfield.shape, dtype=bool)
    width, depth, height = hounsfield.shape
    # Radiological convention: the patient's right on the left, the front up in axial slices, the head up in the others.
    planes: dict[str, tuple[slice | int, ...]] = {
        "axial": (slice(None, None, -1), slice(None, None, -1), int(0.52 * height)),
        "coronal": (slice(None, None, -1), int(0.48 * depth), slice(None, None, -1)),
        "sagittal": (int(0.52 * width), slice(None, None, -1), slice(None, None, -1)),
    }
    for axes, (name, plane) in zip(pictures[2:], planes.items(), strict=True):
        axes.imshow(hounsfield[plane].T, cmap="gray", vmin=-1100, vmax=450)
        _outline(axes, union[plane].T, "tab:orange")
        axes.set_title(f"CT, {name}")
    sections = study.report.sections if study.report else {}
    for axes, name in zip(texts, sections, strict=False):
        axes.text(0, 1, f"{name.upper()}\n" + textwrap.fill(sections[name], 56), va="top", fontsize=10, clip_on=False)
    present = ", ".join(finding for finding, value in study.labels.items() if value == 1) or "no finding"
    texts[2].text(
        0,
        1,
        f"TRUTH ({study.extra['sex']}, {study.extra['age']} years)\n" + textwrap.fill(present, 70),
        va="top",
        fontsize=10,
        clip_on=False,
    )


def _draw_regions(axes: Axes, picture: Picture) -> None:
    import matplotlib as mpl

    colours = mpl.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for number, (region, mask) in enumerate(zip(picture.regions, picture.masks, strict=True)):
        colour = colours[number % len(colours)]
        if mask is not None:
            _outline(axes, mask, colour)
        axes.text(region.box[0], region.box[1] - 3, region.finding, color=colour, fontsize=8, clip_on=True)


def _outline(axes: Axes, mask: RegionMask, colour: Any) -> None:
    if mask.any() and not mask.all():
        axes.contour(mask, levels=[0.5], colors=[colour], linewidths=0.8)
