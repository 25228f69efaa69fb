"""Where a model's files are: a local folder, the local hub cache, or the hub; fails at once where nothing is reachable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lingula.core.errors import UserError
from lingula.core.offline import forbidden_by

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
SECONDS_TO_ANSWER = 5.0
_NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "merges.txt")
_ALSO = (
    "special_tokens_map.json",
    "added_tokens.json",
    "*.model",
    "pooling.json",
    "pooling.safetensors",
    "projection.safetensors",
)


def find_model(name: str, revision: str | None = None, with_code: bool = False) -> Path:
    """Return a folder with `config.json` and weights.

    Args:
        name: A folder, or a hub name such as `emilyalsentzer/Bio_ClinicalBERT`; what is in the hub cache is not asked for again.
        revision: Commit, tag or branch of a hub model.
        with_code: Fetch the model's Python files too.

    Raises:
        UserError: There is no such folder or hub model, weights are missing, or the hub cannot be reached.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if name.startswith((".", "/", "~")) or name.count("/") != 1 or any(character.isspace() for character in name):
        raise UserError(f"no such model folder: {name}", "Give a folder in Hugging Face layout, or a hub name 'owner/model'.")
    cached = _cached(name, revision, with_code)
    return cached if cached is not None else _checked(_download(name, revision, with_code))


def missing_weights(folder: Path) -> str:
    """Say what a model folder lacks: `config.json`, weights, or nothing (an empty string)."""
    if not (folder / "config.json").is_file():
        return "config.json"
    return "" if any((folder / file).is_file() for file in WEIGHT_FILES) else "weights (model.safetensors)"


def _checked(folder: Path) -> Path:
    lacks = missing_weights(folder)
    if lacks:
        raise UserError(f"the model folder {folder} has no {lacks}", "Download the complete model, or train one.")
    return folder


def _cached(name: str, revision: str | None, with_code: bool) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except HFValidationError:
        raise UserError(f"'{name}' is neither a folder nor a hub name", "Check the spelling.") from None
    except LocalEntryNotFoundError:
        return None
    complete = not missing_weights(folder) and (not with_code or any(folder.glob("*.py")))
    return folder if complete else None


def _download(name: str, revision: str | None, with_code: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HTTPError, RepositoryNotFoundError, RevisionNotFoundError  # type: ignore[attr-defined]

    remedy = "Download it where there is a network and give its folder, or use the text encoder 'small'."
    forbidden = forbidden_by()
    if forbidden:
        raise UserError(f"the model {name} is not in the local cache and {forbidden} forbids the hub", remedy)
    try:
        info = HfApi().model_info(name, revision=revision, timeout=SECONDS_TO_ANSWER)
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=_wanted(info, with_code)))
    except RevisionNotFoundError:
        raise UserError(f"the hub model {name} has no revision '{revision}'", "Check the revision.") from None
    except RepositoryNotFoundError:
        raise UserError(f"there is no hub model '{name}' (or it is private)", "Check the spelling, or log in.") from None
    except (HTTPError, OSError) as error:
        raise UserError(f"the hub cannot be reached for {name} ({type(error).__name__})", remedy) from error


def _wanted(info: Any, with_code: bool) -> list[str]:
    """Choose the files of a hub model: safetensors where there are any, else the PyTorch weights."""
    names = {file.rfilename for file in info.siblings or []}
    safe = any(name.startswith("model") and ".safetensors" in name for name in names)
    weights = "model*.safetensors*" if safe else "pytorch_model*.bin*"
    return [*_NEEDED, *_ALSO, weights, *(["*.py"] if with_code else [])]
