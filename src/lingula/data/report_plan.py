"""What COLIPRI reads of a report beside its text: variants of it, pairs of opposite sentences, and the whole to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from lingula.core.batch import Batch, Tokens
from lingula.core.randomness import random_generator
from lingula.core.types import RowNumbers
from lingula.data.text.normalise import normalise_text
from lingula.data.text.opposite_slots import StatementBank
from lingula.data.text.report_augment import varied_report
from lingula.data.text.report_augment_config import ReportAugmentConfig
from lingula.data.text.statements import Statements

if TYPE_CHECKING:
    from lingula.data.store_table import StoreTable

Tokenise = Callable[[Sequence[str]], Tokens]


@dataclass(frozen=True)
class ReportPlan:
    """Fills the fields of a batch that come from reports; what is drawn depends on a sample's key alone.

    Args:
        statements: Study to the short statements of its report; a study that is not in it has none.
        tokenise: Texts to tokens, for opposite sentences.
        bank: Positive statements of the training studies.
        slots: Pairs of opposite sentences per sample; 0: none are given.
        variation: How reports are varied; None: they are not.
        write: Reports to tokens, cut to what a decoder can write; None: none are given.
    """

    statements: Mapping[str, Statements]
    tokenise: Tokenise
    bank: StatementBank
    slots: int = 0
    variation: ReportAugmentConfig | None = None
    write: Tokenise | None = None

    def varied(self, store: StoreTable, row: int, sections: Sequence[str] | None, key: tuple[int | str, ...]) -> str:
        """Draw the text that a sample's image is contrasted with."""
        if self.variation is None:
            raise ValueError("this plan says not how reports are varied")
        statements = self.statements.get(store.column("study_id")[row], {})
        chosen = chosen_sections(store, row, sections)
        return normalise_text(varied_report(chosen, statements, self.variation, random_generator(*key, "text")))

    def fill(
        self,
        batch: Batch,
        store: StoreTable,
        rows: RowNumbers,
        sections: Sequence[str] | None,
        keys: Sequence[tuple[int | str, ...]],
    ) -> Batch:
        """Return the batch with reports to write and opposite sentences, as far as they are asked for."""
        if self.write is not None:
            reports = [normalise_text(store.text(int(row), sections)) for row in rows]
            batch = replace(batch, report=self.write(reports))
        return batch if self.slots == 0 else self._with_opposites(batch, store, rows, keys)

    def _with_opposites(self, batch: Batch, store: StoreTable, rows: RowNumbers, keys: Sequence[tuple[int | str, ...]]) -> Batch:
        studies, patients = store.column("study_id"), store.column("patient_id")
        drawn = [
            self.bank.slots(self.statements.get(studies[row]), patients[row], self.slots, random_generator(*key, "opposites"))
            for row, key in zip(rows, keys, strict=True)
        ]
        texts = [text for slots in drawn for slot in slots for text in (slot.statement, slot.opposite)]
        flat = self.tokenise(texts)
        shape = (len(drawn), self.slots, 2, flat.ids.shape[-1])
        labels = torch.tensor([[slot.label for slot in slots] for slots in drawn])
        return replace(batch, opposites=Tokens(flat.ids.reshape(shape), flat.mask.reshape(shape)), opposite_labels=labels)


def chosen_sections(store: StoreTable, row: int, sections: Sequence[str] | None) -> dict[str, str]:
    """Return the sections of a row's report that are in use, in their order."""
    known: dict[str, str] = store.column("sections")[row]
    return {name: known[name] for name in (known if sections is None else sections) if known.get(name, "").strip()}
