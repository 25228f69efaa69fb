"""What whole reports and what they affirm give as texts: findings -> impression on real reports, three seeds each.

    .venv/bin/python benchmarks/language/real_reports.py ../shared/data stores/reports
    .venv/bin/python benchmarks/language/views.py stores/reports

Both views train the model `small` (about ten seconds each); queries and gallery are in the same view as the training.
"""

from __future__ import annotations

import sys
from pathlib import Path

from text_embeddings import SECTIONS, SEEDS, embedder, retrieval

from lingula.core.files import read_json_lines
from lingula.data.text.affirmed import affirmed_text
from lingula.data.text.normalise import normalise_text
from lingula.methods.language_model import train_language_model
from lingula.models.text_config import SmallLanguageModelConfig
from lingula.training.language_model import report_texts
from lingula.training.report_pairs import report_pairs


def main(folder: Path) -> None:
    """Print one line per view and seed."""
    train, test = (read_json_lines(folder / f"{split}.jsonl") for split in ("train", "test"))
    reports = [{name: normalise_text(report[name]) for name in SECTIONS if name in report} for report in train]
    for seed in range(SEEDS):
        for view in ("report", "affirmed"):
            affirmed = view == "affirmed"
            pairs = report_pairs(reports, seed, affirmed)
            encoder = train_language_model(report_texts(reports), SmallLanguageModelConfig(), seed, progress=False, pairs=pairs)
            embed = embedder(encoder)
            shown = (lambda texts, e=embed: e([affirmed_text(text) for text in texts])) if affirmed else embed
            found = retrieval(shown, test)
            print(f"{view}, seed {seed}:", {name: found[name] for name in ("recall@1", "recall@10", "rare recall@1")}, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
