"""What a run was made with: versions, machine, git commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("lingula", "timm", "transformers", "tokenizers", "numpy", "pyarrow", "safetensors")


def describe_environment(device: torch.device, processes: int) -> dict[str, object]:
    """Return versions, device and, where the code lies in a git checkout, its commit."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "git_commit": git_commit(Path(__file__).parent),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"torch": torch.__version__} | {package: version(package) for package in PACKAGES},
        "device": f"{device.type} ({name})",
        "threads": torch.get_num_threads(),
        "processes": processes,
    }


def git_commit(folder: Path) -> str | None:
    """Return the commit that a folder's files are checked out from, with `+changes` behind it; None outside git."""
    try:
        inside = _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(folder, "rev-parse", "HEAD")
        changes = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.CalledProcessError):
        return None
    return (commit + ("+changes" if changes else "")) if inside else None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout.strip()
