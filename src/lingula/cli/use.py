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
        for match in matches:
            print(f"{match.probability:6.1%}  cosine {match.similarity:+.3f}  {match.prompt}")


@dataclass
class Embed:
    """Write features and latents of a store's images, and latents of their reports, to parquet."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    store: Path
    """Folder of the store."""
    out: Path
    """Parquet file to write."""
    split: Literal["train", "val", "test"] | None = None
    """train, val or test; all of them where nothing is given."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""

    def run(self) -> None:
        """Embed and write."""
        from lingula.data.open_store import open_store
        from lingula.evaluation.export import write_embeddings
        from lingula.inference import load_model

        written = write_embeddings(load_model(self.folder, self.checkpoint), open_store(self.store), self.out, self.split)
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
