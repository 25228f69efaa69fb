"""`lingula show RUN`: one image beside attention, pseudo mask, a phrase's heat-map and the truth; of CT, masked patches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from lingula.core.errors import UserError, nearest

if TYPE_CHECKING:
    from lingula.data.store import Store
    from lingula.data.store_table import StoreTable
    from lingula.evaluation.arrays import MeanCells
    from lingula.evaluation.show import Asked
    from lingula.inference import ImageInput, Model

REFERENCE = 200
"""Training images whose mean map is taken off, at most."""


@dataclass
class Show:
    """Draw what a model sees in one image, as a PNG.

    Of a radiograph where phrases lie: attention, pseudo mask, heat-map, ground truth. Of a CT volume of a store, and a model with
    masked-image modelling, its hidden patches and what the model predicts there.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    phrase: tuple[str, ...] = ()
    """Of radiographs: what to look for, e.g. --phrase "right pleural effusion" "cardiomegaly"; one row of panels each."""
    image: Path | None = None
    """Radiograph, PNG, JPEG or DICOM."""
    store: Path | None = None
    """Folder of a store, for one of its images with its ground truth."""
    row: int | None = None
    """Which image of the store, by number."""
    study: str | None = None
    """Which image of the store, by its study; the first one where the study has several."""
    reference: Path | None = None
    """Store of radiographs: the mean map of its training images is taken from each phrase's (`phrase, centred` of grounding)."""
    out: Path | None = None
    """PNG to write; show.png in the run where nothing is given."""
    checkpoint: str = "best"
    """`best` (by validation), `last` or `initial`."""
    seed: int = 0
    """Of CT: which patches are hidden."""

    def run(self) -> None:
        """Draw, and say where it is."""
        from lingula.inference import runs_of
        from lingula.methods.registry import reads_volumes
        from lingula.training.run import Run

        run = runs_of(self.folder)[0]
        out = self.out or run / "show.png"
        if reads_volumes(Run(run).config.method):
            notes = self._show_volume(run, out)
        else:
            self._check()
            notes = show(run, self.phrase, out, self.image, self.store, self.row, self.study, self.checkpoint, self.reference)
        for note in notes:
            print(note)
        print(out)

    def _show_volume(self, run: Path, out: Path) -> list[str]:
        from lingula.cli.show_masked import show_masked
        from lingula.data.volume_store import VolumeStore

        if self.phrase or self.image is not None or self.reference is not None:
            problem = "--phrase, --image and --reference are for radiographs; of CT volumes hidden patches are shown"
            raise UserError(problem, "Give --store STORE with --row N or --study ID alone.")
        if self.store is None or (self.row is None) == (self.study is None):
            raise UserError("show needs one volume of a store", "Give --store STORE with --row N or --study ID.")
        store = VolumeStore.open(self.store)
        return show_masked(run, out, store, _row(store, self.row, self.study), self.seed, self.checkpoint)

    def _check(self) -> None:
        if (self.image is None) == (self.store is None):
            raise UserError("show needs one image", "Give --image FILE, or --store STORE with --row N or --study ID.")
        if self.store is not None and (self.row is None) == (self.study is None):
            raise UserError("show needs one image of the store", "Give --row N or --study ID.")
        if self.store is None and (self.row is not None or self.study is not None):
            raise UserError("--row and --study choose an image of a store", "Give --store STORE, too.")
        if not self.phrase or not all(phrase.strip() for phrase in self.phrase):
            raise UserError("no phrase to look for", 'Give some, e.g. --phrase "right pleural effusion".')


def show(
    run: Path,
    phrases: tuple[str, ...],
    out: Path,
    image: Path | None = None,
    store: Path | None = None,
    row: int | None = None,
    study: str | None = None,
    checkpoint: str = "best",
    reference: Path | None = None,
) -> list[str]:
    """Draw the sheet and return what the reader has to know about it.

    Raises:
        UserError: Run, image, store, row or study do not exist, the model has no text, or no word of a phrase is known to it.
    """
    from lingula.data.store import Store
    from lingula.evaluation.show import Sheet, draw_sheet
    from lingula.inference import Model, read_pixels

    model = Model.load(run, checkpoint)
    notes = [note for phrase in phrases for note in check_words(model, phrase)]
    opened = Store.open(store) if store is not None else None
    number = 0 if opened is None else _row(opened, row, study)
    shown: ImageInput = opened.pixels(number) if opened is not None else image or Path()
    name = str(image) if opened is None else f"{opened.name} row {number}, study {opened.column('study_id')[number]}"
    mean = None
    if reference is not None:
        mean, taken = _mean_of(model, Store.open(reference))
        notes.append(f"Maps of phrases: cosine less its mean over {taken} training images of {reference}.")
    settings, own = model.mask_settings()
    made = ", ".join(f"{key} {value}" for key, value in settings.items() if value not in (None, False))
    mask = model.pseudo_mask(shown)
    if mask is None:
        notes.append(f"{model.name} pools without attention: no attention map and no pseudo mask.")
    elif not mask.any():
        notes.append("The attention is the same everywhere: its pseudo mask is empty.")
    sheet = Sheet(
        title=f"{name} · {model.name} of {run} ({checkpoint})",
        pixels=read_pixels(shown),
        asked=_asked(model, shown, phrases, opened, number, mean),
        attention=model.attention_map(shown),
        mask=mask,
        mask_words=made if own else "default settings: the run has none of its own",
        notes=[*notes, "A frontal radiograph shows the patient's right on the image's left."],
    )
    draw_sheet(sheet, out)
    return notes


def check_words(model: Model, phrase: str) -> list[str]:
    """Return a warning for words that mean nothing to the text encoder.

    Raises:
        UserError: The model has no text tower, or it knows no word of the phrase: its map would mean nothing.
    """
    from lingula.models.known_words import words_of

    if model.text_encoder is None:
        raise UserError(f"the {model.name} model of {model.run.path} has no text tower", "Use a run that learned from reports.")
    unknown = model.unknown_words(phrase)
    if len(unknown) == len(words_of(phrase)):
        raise UserError(f"no word of '{phrase}' is known to the text encoder", "Use words of the reports that it learned from.")
    return [f"Unknown to the text encoder: {', '.join(unknown)} (in “{phrase}”)."] if unknown else []


def _row(store: StoreTable, row: int | None, study: str | None) -> int:
    """Find the image."""
    if row is not None:
        if not 0 <= row < len(store):
            raise UserError(f"store {store.path} has no row {row}", f"Rows are numbered from 0 to {len(store) - 1}.")
        return row
    studies = store.column("study_id")
    if study not in studies:
        known = nearest(study or "", studies) or f"Its studies are called like '{studies[0]}'."
        raise UserError(f"store {store.path} has no study '{study}'", known)
    return int(studies.index(study))


def _mean_of(model: Model, store: Store) -> tuple[MeanCells, int]:
    """The mean feature grid of some training images, and of how many.

    Raises:
        UserError: The store has none.
    """
    from lingula.evaluation.grounding.model_maps import mean_cells

    rows = store.rows("train")
    rows = rows[:: max(len(rows) // REFERENCE, 1)][:REFERENCE]
    mean = mean_cells(model, store, rows)
    if mean is None:
        raise UserError(f"store {store.path} has no training images", "Give another --reference, or leave it out.")
    return mean, len(rows)


def _asked(
    model: Model, image: ImageInput, phrases: tuple[str, ...], store: Store | None, row: int, mean: MeanCells | None
) -> list[Asked]:
    """The answers to all phrases, with the truth where the store has one."""
    from lingula.evaluation.grounding.named import named_regions
    from lingula.evaluation.show import Asked

    heats = model.heatmaps(image, phrases, mean)
    if store is None:
        return [Asked(phrase, heat) for phrase, heat in zip(phrases, heats, strict=True)]
    asked = []
    for phrase, heat in zip(phrases, heats, strict=True):
        named = named_regions(store, row, phrase)
        asked.append(Asked(phrase, heat, named.inside, named.others, named.words))
    return asked
