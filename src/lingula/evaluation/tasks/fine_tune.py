"""Fine-tuning: encoder and classifier trained on several fractions of the labels, beside the probe."""

from __future__ import annotations

from pathlib import Path

from lingula.core.errors import UserError
from lingula.data.store import Store
from lingula.evaluation.cohort import targets
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.encoder import Encoder, TrainableEncoder
from lingula.evaluation.fine_tuning import HEAD_FACTOR, WEIGHT_DECAY, fine_tune, scores_of
from lingula.evaluation.result import TaskResult
from lingula.evaluation.scored import thresholds_of
from lingula.evaluation.tasks.common import assemble, classification_result, gather_cohort
from lingula.evaluation.tasks.fractions import fraction_name, labelled_partitions


def run(encoder: Encoder, store: Store, config: EvaluateConfig, cache: Path | None = None) -> TaskResult:
    """Train all parameters from the encoder's weights, for every fraction of labels and every draw of patients.

    The patients are those that the probe learns from. Steps and thresholds come from validation; the encoder itself stays.

    Args:
        encoder: A model that gives its image tower away (`TrainableEncoder`).
        store: The images.
        config: The task's numbers.
        cache: Not used: nothing of a fine-tuned model is kept.

    Raises:
        UserError: The model cannot be trained, there are no labelled training rows, or nothing is left to score.
    """
    if not isinstance(encoder, TrainableEncoder):
        raise UserError(f"{encoder.name} does not give its image tower away", "Fine-tune a run of lingula pretrain.")
    cohort = gather_cohort(store, config)
    settings, notes = {}, []
    for fraction in config.fraction:
        fits, sizes, steps = [], [], []
        for part in cohort.partitions:
            for seed, drawn in labelled_partitions(store, part, cohort.findings, fraction, config):
                copied = encoder.trainable()
                tuned = fine_tune(copied, store, cohort.findings, config, drawn.train, part.val, seed)
                on_val, on_test = (scores_of(tuned.network, copied, store, rows) for rows in (part.val, part.test))
                truth = targets(store, part.val, cohort.findings, config.against)
                fits.append((part.test, on_test, thresholds_of(on_val, truth, config.threshold)))
                sizes.append(len(drawn.train))
                steps.append(tuned.step)
        name = fraction_name(fraction)
        settings[name] = assemble(store, cohort, config, fits, temperature=1.0)
        span = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
        stopped = f"{min(steps)}" if min(steps) == max(steps) else f"{min(steps)} to {max(steps)}"
        notes.append(f"{name} of labels: {_fits(len(fits))} on {span} images, best validation at step {stopped}.")
    protocol = {
        "fractions": list(config.fraction),
        "draws": config.draws,
        "trained": "all parameters",
        "optimiser": f"AdamW, weight decay {WEIGHT_DECAY}, rate {config.fine_tune_rate} (classifier × {HEAD_FACTOR}), cosine",
        "steps": config.fine_tune_steps,
        "batch": config.fine_tune_batch,
        "early stopping": f"macro AUROC on validation every {config.fine_tune_every} steps, patience {config.patience}",
        "threshold": f"max {config.threshold.upper()} on validation",
    }
    return classification_result("fine-tune", encoder, store, config, cohort, settings, protocol, notes)


def _fits(count: int) -> str:
    return "one fit" if count == 1 else f"mean of {count} fits"
