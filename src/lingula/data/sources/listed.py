"""What sources have in common that list all their studies when they are opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from lingula.data.study import Study


class ListedStudies:
    """Studies that are known from the start; a subclass fills `_studies` and `_settings`, and reads the images."""

    _studies: list[Study]
    _settings: dict[str, object]
    _heavy: ClassVar[tuple[str, ...]] = ("_studies",)
    """Lists that stay behind where the source travels to a worker process."""

    def __iter__(self) -> Iterator[Study]:
        return iter(self._studies)

    def __len__(self) -> int:
        return len(self._studies)

    def __getstate__(self) -> dict[str, Any]:
        """Travel to worker processes without the studies."""
        return {**self.__dict__, **{name: [] for name in self._heavy}}

    def settings(self) -> dict[str, object]:
        """Return everything that determines the studies: what was found, what was skipped, and the configuration."""
        return dict(self._settings)
