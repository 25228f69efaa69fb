"""Weights of the package colipri as a run folder, so that every task, page and picture takes them like a model trained here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lingula.core.checkpoint import Checkpoints
from lingula.core.errors import UserError
from lingula.core.files import atomic_folder, sha256_of_file, write_json
from lingula.exchange.colipri import Colipri, load_colipri, stored_volumes
from lingula.exchange.colipri_config import ColipriConfig
from lingula.methods.colipri import ColipriMethod
from lingula.methods.tokeniser import NAMES
from lingula.models.text_encoder import TextEncoder
from lingula.models.text_pooling import Pooling
from lingula.training.config import PretrainConfig
from lingula.training.environment import describe_environment
from lingula.training.run import CHECKPOINTS, CONFIG, ENVIRONMENT, LANGUAGE_MODEL


def import_colipri(
    weights: Path,
    run: Path,
    released: Mapping[str, Any],
    tokeniser: Path | None = None,
    config: Path | None = None,
    orientation: str | None = None,
) -> dict[str, Any]:
    """Write a run folder that holds both encoders of a file; it was trained elsewhere, and has no decoders.

    Args:
        weights: A file that `load_colipri` reads.
        run: The folder to write; it must not exist.
        released: How the released model's volumes are prepared: orientation, spacing in mm, hu_range. What the file says of its
            own goes before.
        tokeniser: A folder in Hugging Face layout, or a `tokenizer.json`; None: what `lingula export` left beside the file.
        config: YAML file with other sizes than the file's own or the released model's.
        orientation: RAS or SAR, where the file does not say it; None: that of `released`.

    Returns:
        How volumes are prepared for it, like `released`.

    Raises:
        UserError: The folder exists, or a file is missing, damaged or does not fit the others.
    """
    if run.exists():
        raise UserError(f"{run} exists already", "Choose another folder.")
    model = load_colipri(weights, config)
    seen = {**released, **({"orientation": orientation} if orientation else {}), **stored_volumes(weights)}
    if orientation and seen["orientation"] != orientation:
        raise UserError(f"{weights} was trained on {seen['orientation']} volumes", "Leave --orientation out.")
    words = load_tokeniser(tokeniser or weights.with_suffix(".tokenizer.json"), model.config)
    encoder = TextEncoder(
        model.text_encoder.backbone, words, Pooling(kind="mean", max_tokens=words.model_max_length), frozen=False
    )
    settings = _settings(model, weights, seen)
    method = ColipriMethod(settings.method, encoder)  # type: ignore[arg-type]
    method.image_encoder.load_state_dict(model.image_encoder.state_dict())
    method.text_encoder.pooler.load_state_dict(model.text_encoder.pooler.state_dict())
    with torch.no_grad():
        method.log_temperature.copy_(model.softmax_temperature.log())
    with atomic_folder(run) as folder:
        encoder.save(folder / LANGUAGE_MODEL)
        write_json(folder / ENVIRONMENT, _environment(weights, encoder, seen, sum(each.numel() for each in method.parameters())))
        settings.to_yaml(folder / CONFIG)
        Checkpoints(folder / CHECKPOINTS).save(0, method.state_dict(), {}, {"steps": 0, "seed": 0, "best": None})
    return seen


def load_tokeniser(path: Path, sizes: ColipriConfig) -> Any:
    """Load a tokeniser whose words the text encoder has.

    Raises:
        UserError: It is missing or damaged, or has more words than the text encoder.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    remedy = "Give --tokeniser: the folder of microsoft/BiomedVLP-CXR-BERT-specialized, or the tokenizer.json of the training."
    if not path.exists():
        raise UserError(f"no tokeniser at {path}", remedy)
    longest = sizes.text_encoder.max_position_embeddings
    try:
        if path.is_dir():
            words: Any = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
        else:
            words = PreTrainedTokenizerFast(tokenizer_file=str(path), **NAMES)
    except Exception as error:  # the library raises bare Exceptions for damaged files
        raise UserError(f"{path} is no tokeniser ({str(error).splitlines()[0]})", remedy) from None
    if len(words) > sizes.text_encoder.vocab_size:
        problem = f"{path} has {len(words):,} words, the text encoder {sizes.text_encoder.vocab_size:,}"
        raise UserError(problem, remedy)
    words.model_max_length = longest
    return words


def _settings(model: Colipri, weights: Path, seen: Mapping[str, Any]) -> PretrainConfig:
    """The configuration that the folder's readers need; numbers of the training are not known and stay at their defaults."""
    sizes, temperature = model.config, float(model.softmax_temperature)
    return PretrainConfig.from_values(
        {
            "method": {
                "name": "colipri",
                "encoder": sizes.image_encoder.encoder().model_dump(),
                "image_pooler_heads": sizes.image_pooler_heads,
                "text_pooler_heads": sizes.text_pooler_heads,
                "temperature": temperature,
                "minimum_temperature": min(temperature, 0.01),
            },
            "data": {"store": str(weights)},
            "crop": {"size": sizes.image_encoder.input_size, "hu_range": seen["hu_range"]},
            "text_encoder": {"name": weights.name, "frozen": False},
        },
        f"the sizes of {weights}",
    )


def _environment(weights: Path, encoder: TextEncoder, seen: Mapping[str, Any], parameters: int) -> dict[str, Any]:
    told = f"not here: the weights are those of {weights.name}"
    return describe_environment(torch.device("cpu"), 1) | {
        "starting_weights": {"image_encoder": weights.name, "text_encoder": weights.name, "init_from": None},
        "parameters": {"total": parameters, "trainable": parameters},
        "store": {"path": str(weights), "name": weights.name, "fingerprint": sha256_of_file(weights)},
        "reading": {name: seen[name] for name in ("orientation", "spacing")},
        "samples": {"train": 0, "validation": 0, "summary": told},
        "text_dimension": encoder.dimension,
        "text_fingerprint": encoder.fingerprint(),
        "findings": [],
    }
