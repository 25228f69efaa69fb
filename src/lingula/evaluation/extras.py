"""Packages that only some tasks need, and that an installation without extras lacks."""

from __future__ import annotations

from importlib.util import find_spec

from lingula.core.errors import UserError


def need_packages(task: str, extra: str, *modules: str) -> None:
    """Check that packages are installed before a task's long work begins.

    Raises:
        UserError: One is not.
    """
    lacking = [name for name in modules if find_spec(name) is None]
    if lacking:
        raise UserError(f"{task} needs {lacking[0]}, which is not installed", f'Install it with pip install "lingula[{extra}]".')
