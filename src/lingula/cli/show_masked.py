"""`lingula show RUN` of CT volumes: one volume, what masked-image modelling showed of it, and what the model made of that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lingula.core.errors import UserError

if TYPE_CHECKING:
    from lingula.data.volume_store import VolumeStore


def show_masked(run: Path, out: Path, store: VolumeStore, row: int, seed: int = 0, checkpoint: str = "best") -> list[str]:
    """Draw the volume, its visible patches and the model's reconstruction, and return what is written beneath.

    Raises:
        UserError: There is no such checkpoint, the run has no decoder of hidden patches, or the store has other voxels.
    """
    from lingula.evaluation.masked_pictures import draw_masked, fill_hidden
    from lingula.training.run import Run
    from lingula.volume_inference import VolumeModel

    filler = VolumeModel(Run(run), checkpoint).hidden_filler(store)
    if filler is None:
        remedy = "Give the run of a training with --preset cm, crm or tiny: exported weights leave the decoder behind."
        raise UserError(f"run {run} has no decoder of hidden patches, and nothing to show of a volume", remedy)
    found = fill_hidden(filler, store, row, seed)
    patch = " x ".join(map(str, filler.tower.backbone.config.patch))
    sides = " x ".join(map(str, found.hounsfield.shape))
    voxel = " x ".join(f"{side:g}" for side in found.spacing)
    notes = [
        f"{filler.share:.0%} of the patches of {patch} voxels are hidden; crop of {sides} voxels of {voxel} mm.",
        f"Mean squared error of the hidden voxels {found.error:.4f}, of their guess by the mean of the visible ones "
        f"{found.guess:.4f} (values from -1 to 1).",
    ]
    title = f"{store.name} row {row}, study {store.column('study_id')[row]} · colipri of {run.name} ({checkpoint})"
    draw_masked(found, out, title, notes)
    return notes
