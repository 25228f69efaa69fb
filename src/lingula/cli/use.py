"""Commands that use a trained run: predict, embed, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lingula.core.errors import UserError


@dataclass
class Predict:
    """Compare one image with prompts: cosine similarity, and the softmax over these prompts."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    image: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """Radiograph, PNG, JPEG or DICOM; for a model of CT volumes NIfTI, NRRD or MetaImage."""
    prompt: tuple[str, ...]
    """What to ask, e.g. --prompt "pleural effusion" "no pleural effusion"."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""

    def run(self) -> None:
        """Print the prompts, best first."""
        from lingula.inference import load_model

        matches = load_model(self.folder, self.checkpoint).predict(self.image, self.prompt)
        for match in matches:  # among one prompt it would always be certain
            share = f"{match.probability:6.1%}  " if len(matches) > 1 else ""
            print(f"{share}cosine {match.similarity:+.3f}  {match.prompt}")


@dataclass
class Embed:
    """Write features and latents of images to parquet: of a store, with latents of its reports, or of a folder of files."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    out: Path
    """Parquet file to write."""
    store: Path | None = None
    """Folder of the store."""
    images: Path | None = None
    """Folder of image files (PNG, JPEG, DICOM), instead of a store."""
    split: Literal["train", "val", "test"] | None = None
    """With a store: train, val or test; all of them where nothing is given."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""
    workers: int = 1
    """Processes that embed; each loads the model."""
    scheduler: str = ""
    """Dask cluster that embeds: local (this machine, --workers processes) or an address (tcp://HOST:8786)."""
    worker_memory: str = ""
    """With --scheduler local: what one worker may take, e.g. 8GiB; one that takes more is restarted."""

    def run(self) -> None:
        """Embed and write."""
        if (self.store is None) == (self.images is None):
            raise UserError("give --store or --images", "Exactly one of them says what is embedded.")
        if self.images is not None and self.split is not None:
            raise UserError("--split is for a store", "A folder of images has no splits: leave it out.")
        from functools import partial

        from lingula.core.task_pool import Workers
        from lingula.data.open_store import open_store
        from lingula.evaluation.embed_items import FileItems, Items, StoreItems
        from lingula.evaluation.export import write_embeddings
        from lingula.inference import Model, load_model

        items: Items = FileItems(self.images) if self.images else StoreItems(open_store(self.store or ""), self.split)
        workers = Workers(self.workers, self.scheduler, self.worker_memory)
        load = Model.load if self.images else load_model
        written = write_embeddings(partial(load, self.folder, self.checkpoint), items, self.out, workers)
        print(f"{self.out}: {written:,} images")


@dataclass
class WriteReport:
    """Write one self-contained HTML page: what was trained on what, curves, tables, test images with prompts and reports."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """One run folder or several to compare."""
    out: Path | None = None
    """File to write; report.html in the first folder where nothing is given."""

    def run(self) -> None:
        """Write the page and say where it is."""
        from lingula.evaluation.report_page import write_report
        from lingula.evaluation.run_view import RunView
        from lingula.inference import runs_of

        if not self.folders:
            raise UserError("no run given", "Call lingula report RUN.")
        views = [RunView.open(path) for folder in self.folders for path in runs_of(folder)]
        out = self.out or self.folders[0] / "report.html"
        write_report(views, out)
        print(out)
