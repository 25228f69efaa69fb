"""The small colipri model of tests/compat/published.py, ours: its sizes, its numbers, and all that it can answer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from lingula.exchange import Colipri, ColipriConfig

WINDOW = (32, 24, 16)
TEMPERATURE = 0.07
SIZES = {
    "image_encoder": {"embed_dim": 72, "depth": 2, "num_heads": 4, "patch_size": 8, "input_size": list(WINDOW)},
    "projection_dim": 48,
    "image_pooler_heads": 4,
    "text_pooler_heads": 4,
    "text_encoder": {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "vocab_size": 100,
        "max_position_embeddings": 64,
    },
}
SCALES = ("norm.weight", "norm1.weight", "norm2.weight", "LayerNorm.weight", "gamma_1", "gamma_2")


def small() -> Colipri:
    return Colipri(ColipriConfig.from_values(SIZES, "the small sizes")).eval()


def fill(model: Colipri, numbers: Callable[[int, tuple[int, ...]], Tensor]) -> None:
    with torch.no_grad():
        for n, (name, value) in enumerate(sorted(model.named_parameters())):
            drawn = numbers(n, tuple(value.shape))
            if value.ndim > 1:
                value.copy_(drawn / (value.numel() / len(value)) ** 0.5)
            else:
                value.copy_(float(name.endswith(SCALES)) + 0.1 * drawn)
        model.softmax_temperature.fill_(TEMPERATURE)


def outputs(model: Colipri, image: Tensor, large: Tensor, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        made = {
            "backbone": model.encode_image(image),
            "backbone_normalised": model.encode_image(image, normalize=True),
            "dense": model.encode_image(image, project=True),
            "dense_normalised": model.encode_image(image, project=True, normalize=True),
            "pooled": model.encode_image(image, project=True, pool=True),
            "pooled_normalised": model.encode_image(image, project=True, pool=True, normalize=True),
            "window_backbone": model.encode_image(large, window_size=WINDOW),
            "window_dense": model.encode_image(large, project=True, window_size=WINDOW),
            "window_pooled": model.encode_image(large, project=True, pool=True, normalize=True, window_size=WINDOW),
            "text": model.encode_text(ids, mask),
            "text_raw": model.encode_text(ids, mask, normalize=False),
            "text_tokens": model.encode_text(ids, mask, pool=False, normalize=False),
            "text_tokens_normalised": model.encode_text(ids, mask, pool=False),
            "text_unmasked": model.encode_text(ids),
        }
        made["similarities_dense"] = model.compute_similarities(made["dense_normalised"], made["text"])
        made["similarities"] = model.compute_similarities(made["pooled_normalised"], made["text"])
        made["probabilities"] = model.classify(made["pooled_normalised"], made["text"])
    return made
