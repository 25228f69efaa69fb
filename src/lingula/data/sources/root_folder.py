"""The files below the root of a public data set, listed once, and the tables among them."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath, PurePosixPath

from lingula.core.errors import UserError, nearest
from lingula.data.sources.dicom_headers import files_below

IMAGES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
"""Endings of image files."""


class RootFolder:
    """What lies below a folder, wherever the user unpacked it.

    Args:
        root: The folder.
        endings: Of the names of images, lower case.

    Raises:
        UserError: There is no such folder.
    """

    def __init__(self, root: Path, endings: Sequence[str] = IMAGES) -> None:
        if not root.is_dir():
            entries = root.parent.iterdir() if root.parent.is_dir() else ()
            near = nearest(root.name, (entry.name for entry in entries if entry.is_dir()))
            raise UserError(f"no such folder: {root}", near or "Check the path given to --root.")
        self.root, self.endings = root, tuple(endings)
        self.unlisted: list[str] = []
        """Folders that cannot be listed."""
        names = files_below(root, lambda error: self.unlisted.append(str(error.filename)))
        self.files = {PurePath(name).as_posix() for name in names if not PurePath(name).name.startswith("._")}
        self._by_name: dict[str, str] | None = None

    def table(self, *patterns: str) -> str:
        """Return the path, relative to the root, of the table whose file name matches the first pattern that any file does.

        With or without `.gz`. Of several, the one closest to the root counts, then the last by name (the newest version).

        Raises:
            UserError: There is none; the nearest file is named.
        """
        found = self.find_table(*patterns)
        if found is None:
            others = sorted({PurePosixPath(name).name for name in self.files if not name.lower().endswith(self.endings)})
            entries = sorted(entry.name for entry in self.root.iterdir())
            holds = f"It holds {', '.join(entries[:4])}{' …' if len(entries) > 4 else ''}." if entries else "It is empty."
            raise UserError(f"no {' or '.join(patterns)} (or .gz) in {self.root} or below", nearest(patterns[0], others) or holds)
        return found

    def find_table(self, *patterns: str) -> str | None:
        """Return the same, or None where there is no such table."""
        for pattern in patterns:
            matches = [
                name
                for name in self.files
                if fnmatch.fnmatchcase(PurePosixPath(name).name.removesuffix(".gz").lower(), pattern.lower())
            ]
            if matches:
                closest = min(name.count("/") for name in matches)
                return max(name for name in matches if name.count("/") == closest)
        return None

    def images(self) -> set[str]:
        """Return the paths of all image files."""
        return {name for name in self.files if name.lower().endswith(self.endings)}

    def copies(self, names: Collection[str]) -> int:
        """Return how many files are called by one of these names, beside the one that `named` gives for each."""
        found = Counter(name for path in self.files if (name := PurePosixPath(path).name) in names)
        return found.total() - len(found)

    def named(self, name: str) -> str | None:
        """Return the path of the file of this name, wherever it lies, the first of several; None where there is none."""
        if self._by_name is None:
            self._by_name = {PurePosixPath(path).name: path for path in sorted(self.files, reverse=True)}
        return self._by_name.get(name)


def beside(table: str, path: str) -> str:
    """Return a path that a table gives relative to its own folder, relative to the root."""
    return (PurePosixPath(table).parent / path).as_posix()
