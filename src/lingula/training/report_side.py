"""From a configuration to what COLIPRI reads of reports: their statements, opposites from training studies alone, their words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from lingula.core.batch import Tokens
from lingula.core.errors import UserError
from lingula.core.types import RowNumbers
from lingula.data.report_plan import ReportPlan, chosen_sections
from lingula.data.store_table import StoreTable
from lingula.data.text.opposite_slots import StatementBank
from lingula.data.text.statement_files import read_statements
from lingula.data.text.statements import Statements, report_statements
from lingula.methods.colipri_config import ColipriMethodConfig
from lingula.models.text_encoder import TextEncoder
from lingula.training.config import PretrainConfig


class CutReports:
    """Tokenises reports and cuts them to what a decoder can write.

    Args:
        encoder: Whose tokeniser it is.
        most: Longest report, tokens.
    """

    def __init__(self, encoder: TextEncoder, most: int) -> None:
        self.encoder, self.most, self._warned = encoder, most, False

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return the tokens of some reports, padded to the longest; warns once where some are cut."""
        whole = self.encoder.token_ids(texts)
        longest = min(max(map(len, whole)), self.most)
        tokens = self.encoder.pad([ids[: self.most] for ids in whole])
        self._warn(sum(len(ids) > self.most for ids in whole), len(whole))
        return Tokens(tokens.ids[:, :longest], tokens.mask[:, :longest])

    def _warn(self, cut: int, count: int) -> None:
        if cut and not self._warned:
            self._warned = True
            first = f"{cut} of {count} in the first batch that has any"
            problem = f"reports longer than the {self.most} tokens that the report decoder writes are cut ({first})"
            warnings.warn(f"{problem}: --method.report-decoder.max-tokens takes more", stacklevel=3)


def report_plan(
    config: PretrainConfig, store: StoreTable, train: RowNumbers, validation: RowNumbers, encoder: TextEncoder
) -> ReportPlan | None:
    """Make the plan of a method that reads more of reports than their text; None for any other.

    Args:
        config: Method and data.
        store: Whose reports.
        train: Rows whose positive statements are false sentences for others.
        validation: Rows that only need their own statements.
        encoder: Tokenises.

    Raises:
        UserError: The file of statements cannot be read, or names none of the studies.
    """
    method = config.method
    if not isinstance(method, ColipriMethodConfig):
        return None
    statements = _statements(config, store, np.concatenate([train, validation]))
    studies, patients = store.column("study_id"), store.column("patient_id")
    learned = {studies[row]: patients[row] for row in train.tolist()}
    bank = StatementBank((patient, statements[study]) for study, patient in learned.items() if study in statements)
    return ReportPlan(
        statements=statements,
        tokenise=encoder.tokenise,
        bank=bank,
        slots=method.opposite_slots if method.opposite_weight else 0,
        variation=config.data.report_augment if config.data.text_view == "varied" else None,
        write=CutReports(encoder, method.report_decoder.max_tokens) if method.report_weight else None,
    )


def _statements(config: PretrainConfig, store: StoreTable, rows: RowNumbers) -> dict[str, Statements]:
    """Return study to statements: from the file, or by rules from the sections in use."""
    studies = store.column("study_id")
    first = dict(zip((studies[row] for row in rows.tolist()), rows.tolist(), strict=True))
    if config.data.statements is None:
        return {study: report_statements(chosen_sections(store, row, config.data.sections)) for study, row in first.items()}
    given = read_statements(config.data.statements)
    kept = {study: given[study] for study in first if study in given}
    if not kept:
        problem = f"{config.data.statements} names none of the {len(first)} studies of {store.path}"
        raise UserError(problem, "Give the statements of this store, or leave --data.statements out.")
    if len(kept) < len(first):
        missing = f"{len(first) - len(kept):,} of {len(first):,} studies are not in {config.data.statements}"
        warnings.warn(f"{missing}: they get no opposite sentences and no short statement", stacklevel=2)
    return kept
