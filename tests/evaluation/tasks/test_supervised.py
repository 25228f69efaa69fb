from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lingula.core.errors import UserError
from lingula.evaluation.config import EvaluateConfig
from lingula.evaluation.metrics import auroc
from lingula.evaluation.tasks.supervised import run

CONFIG = EvaluateConfig(store=Path("x"), bootstrap=20)


def test_logits_are_matched_to_findings_by_name(store: Any, make_encoder: Callable[..., Any]) -> None:
    encoder = make_encoder(store, findings=["Pneumonia", "Unheard Of", "Edema"])
    encoder._latents = encoder._latents[:, [2, 5, 1]]
    result = run(encoder, store, CONFIG)
    edema = auroc(encoder._latents[180:, 2], store._labels[180:, 1])
    assert result.find("AUROC", "Edema").value == pytest.approx(edema, abs=1e-6)
    assert result.protocol["findings"] == ["Edema", "Pneumonia"]
    assert result.notes == ["Not trained on, so left out: Atelectasis."]
    probability = np.array([row["probability"] for row in result.predictions.to_pylist()])
    assert ((probability > 0) & (probability < 1)).all()


def test_other_models_and_unknown_findings_are_refused(store: Any, encoder: Any, make_encoder: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="not a supervised model"):
        run(encoder, store, CONFIG)
    with pytest.raises(UserError, match="was not trained on"):
        run(make_encoder(store, findings=["Unheard Of"]), store, CONFIG)
