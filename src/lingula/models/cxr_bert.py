"""CXR-BERT's folders read without their Python code: a BERT, a projection head, and heads that are not needed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lingula.core.errors import UserError
from lingula.core.files import read_json
from lingula.models.quiet import quiet_transformers
from lingula.models.text_projection import ProjectionHead, projection_from_state

MODEL_TYPE = "cxr-bert"
BODY, HEAD = "bert.", "cls_projection_head."


_OWN = ("model_type", "architectures", "auto_map", "transformers_version", "dtype", "torch_dtype")
"""Keys of config.json that describe the folder rather than the transformer."""


def is_cxr_bert(folder: Path) -> bool:
    """Tell whether a folder in Hugging Face layout says that it holds a CXR-BERT."""
    return bool(read_json(folder / "config.json").get("model_type") == MODEL_TYPE)


def load_cxr_bert(folder: Path) -> tuple[Any, Any, ProjectionHead]:
    """Return CXR-BERT's transformer, tokeniser and projection head; no code of the folder is run.

    Raises:
        UserError: Weights or tokeniser are missing or broken.
    """
    from transformers import BertConfig, BertModel, BertTokenizerFast

    values = read_json(folder / "config.json")
    known = {name: value for name, value in values.items() if name in BertConfig().to_dict() and name not in _OWN}
    state = _read_state(folder)
    with quiet_transformers():
        model = BertModel(BertConfig(**known), add_pooling_layer=False)
        tokeniser = BertTokenizerFast.from_pretrained(folder, local_files_only=True)
    body = {name.removeprefix(BODY): value for name, value in state.items() if name.startswith(BODY)}
    try:
        found = model.load_state_dict(body, strict=False)
    except RuntimeError as error:
        message = f"the weights of {folder} do not fit its config.json ({str(error).splitlines()[-1].strip()})"
        raise UserError(message, "Download the complete model again.") from None
    if found.missing_keys:
        message = f"the weights of {folder} lack {len(found.missing_keys)} tensors of the model, e.g. {min(found.missing_keys)}"
        raise UserError(message, "They would be random numbers: download the complete model again.")
    head = {name.removeprefix(HEAD): value for name, value in state.items() if name.startswith(HEAD)}
    return model, tokeniser, projection_from_state(head, str(folder))


def _read_state(folder: Path) -> dict[str, Tensor]:
    """Read all tensors in fp32; pickled ones without running code."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    try:
        state = load_file(safe) if safe.is_file() else torch.load(pickled, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"the weights of {folder} cannot be read ({first})", "Download the complete model again.") from error
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
