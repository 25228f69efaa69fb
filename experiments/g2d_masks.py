"""What do G2D's pseudo masks look at? Attention and masks of trained runs against the true masks. Phantom numbers.

    make tour && .venv/bin/python experiments/g2d_masks.py runs/tour/g2d
    .venv/bin/python experiments/g2d_masks.py RUN RUN --store stores/demo --images 500

Prints one row per run. Columns:

- entropy: of the attention over the cells, as a share of that of an even map (1: looks everywhere alike);
- common: share of the attention's variance that the mean map over images explains (1: the same map for every image);
- found, other's: share of a finding's pixels that lie in the mask of its image, and in the mask of another image;
- area: share of the image that the mask covers, what a mask drawn blindly would find;
- peak, other's: share of findings that the peak of the attention lies in, its own image's and another's;
- best: "found" of a mask made the same way from the true finding, averaged over the cells of the grid: what the grid allows.

The other image is the next one of the split that has a finding.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("entropy", "common", "found", "other's", "area", "peak", "other's peak", "best")
Maps = Float[Tensor, "images rows columns"]
Truth = Bool[Tensor, "images height width"]


@dataclass(frozen=True)
class Seen:
    """What a model makes of images with findings.

    Args:
        attention: `images rows columns`, mean over the heads.
        masks: `images height width`, the mean of the heads' masks where there are several.
        truth: `images height width`, the union of an image's findings.
        best: `images height width`, masks made of the truth on the grid.
    """

    attention: Maps
    masks: Maps
    truth: Truth
    best: Maps


def entropy(attention: Maps) -> float:
    """Mean over images of H(p) / log(cells), p the attention over the cells."""
    share = attention.flatten(1).double()
    share = share / share.sum(dim=1, keepdim=True)
    return float((-torch.xlogy(share, share).sum(dim=1) / np.log(share.shape[1])).mean())


def common(attention: Maps) -> float:
    """Variance over cells of the mean map, as a share of the mean variance of a map: 1 where all images have the same map."""
    maps = attention.flatten(1).double()
    maps = maps - maps.mean(dim=1, keepdim=True)
    return float(maps.mean(dim=0).square().mean() / maps.square().mean())


def found(masks: Maps, truth: Truth) -> float:
    """Mean over images of the share of true pixels that lie in the mask."""
    inside = (masks * truth).sum(dim=(1, 2)) / truth.sum(dim=(1, 2))
    return float(inside.mean())


def peak(attention: Maps, truth: Truth) -> float:
    """Share of images whose highest cell has its middle in the truth."""
    rows, columns = attention.shape[1:]
    height, width = truth.shape[1:]
    highest = attention.flatten(1).argmax(dim=1)
    row, column = highest // columns, highest % columns
    y, x = ((2 * row + 1) * height // (2 * rows), (2 * column + 1) * width // (2 * columns))
    return float(truth[torch.arange(len(truth)), y, x].double().mean())


def numbers(seen: Seen) -> dict[str, float]:
    """Return the columns of the table."""
    attention, masks, truth = seen.attention, seen.masks, seen.truth
    values = (
        entropy(attention),
        common(attention),
        found(masks, truth),
        found(masks.roll(1, dims=0), truth),
        float(masks.mean()),
        peak(attention, truth),
        peak(attention.roll(1, dims=0), truth),
        found(seen.best, truth),
    )
    return dict(zip(COLUMNS, values, strict=True))


def look(run: Path, store: Path, count: int, checkpoint: str = "best") -> Seen:
    """Show a run the first test images that have a finding.

    Raises:
        SystemExit: The run's method has no attention.
    """
    from lingula.data.store import Store
    from lingula.evaluation.grounding.queries import region_mask
    from lingula.inference import Model
    from lingula.objectives import pseudo_masks

    model, opened = Model.load(run, checkpoint), Store.open(store)
    rows = [row for row in map(int, opened.rows("test")) if opened.regions(row)][:count]
    truth, attention, masks, best = [], [], [], []
    for row in rows:
        regions = [region_mask(opened, row, number) for number in range(len(opened.regions(row)))]
        true = torch.from_numpy(np.any(regions, axis=0))
        if not true.any():
            continue
        pixels = opened.pixels(row)
        maps, mask = model.attention_pixels([pixels]), model.pseudo_mask(pixels)
        if maps is None or mask is None:
            raise SystemExit(f"error: {run} has no attention\nremedy: Give a run of G2D.")
        grid = torch.nn.functional.adaptive_avg_pool2d(true.float()[None, None], maps.shape[2:])
        settings = {name: value for name, value in model.mask_settings()[0].items() if name not in ("per_head", "smooth")}
        seen = torch.from_numpy(np.array(pixels, np.float32))[None, None] / 255
        best.append(pseudo_masks(grid, (opened.size, opened.size), image=seen, **settings)[0, 0])
        truth.append(true)
        attention.append(torch.from_numpy(maps[0].mean(axis=0)).float())
        masks.append(torch.from_numpy(mask).float())
    return Seen(torch.stack(attention), torch.stack(masks), torch.stack(truth), torch.stack(best))


def main() -> None:
    """Parse the arguments, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--store", type=Path, default=ROOT / "stores/demo")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--checkpoint", default="best", help="best, last or initial")
    chosen = parser.parse_args()
    print("| run | " + " | ".join(COLUMNS) + " |\n" + "| --- " * (len(COLUMNS) + 1) + "|")
    for run in chosen.runs:
        values = numbers(look(run, chosen.store, chosen.images, chosen.checkpoint))
        print(f"| {run} | " + " | ".join(f"{value:.3f}" for value in values.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
