"""Tar files, packed with gzip or not: what is in them and where, and single members by their place."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from lingula.core.patience import patiently
from lingula.data.readers import UnreadableImage

BLOCK = tarfile.BLOCKSIZE
GZIP = b"\x1f\x8b"
LARGEST = 2**31
"""Bytes of a member; an image has fewer, so what claims more is damaged, or a bomb."""
LARGEST_TEXT = 2**24
"""Bytes of a member that holds text."""
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError)


@dataclass(frozen=True)
class Member:
    """A file in a tar.

    Args:
        name: Its path in there.
        start: Where its bytes begin, in the tar once unpacked.
        size: How many they are.
        text: The bytes, of members that were asked for.
    """

    name: str
    start: int
    size: int
    text: bytes | None


class DamagedTarError(Exception):
    """A tar that cannot be read to its end.

    Args:
        problem: What is wrong with it.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


def read_members(path: Path, with_text: Callable[[str], bool]) -> Iterator[Member]:
    """Yield the files in a tar, in order; links, folders and the like are not among them.

    Args:
        path: The tar.
        with_text: Tells by its name whether a member's bytes are wanted; more than `LARGEST_TEXT` are none.

    Raises:
        DamagedTarError: After the last member before the damage; that one may be cut short.
        OSError: The disk refuses to read it.
    """
    try:
        with _open(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # they would all be kept
                if not info.isreg():
                    continue
                wanted = with_text(info.name) and info.size <= LARGEST_TEXT
                content = tar.extractfile(info) if wanted else None
                yield Member(info.name, info.offset_data, info.size, content.read() if content else None)
            stream.seek(tar.offset)
            end = stream.read(BLOCK)
    except _DAMAGE as error:
        empty = "is empty" if path.stat().st_size == 0 else ""
        raise DamagedTarError(empty or f"is cut short or damaged ({str(error) or type(error).__name__})") from None
    if end != bytes(BLOCK):
        raise DamagedTarError("is damaged in the middle" if end else "is cut short: it has no end mark")


class TarReader:
    """Reads members of the tars below a folder by their place; the last tar stays open, so packed ones are read onwards.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._name = ""
        self._stream: IO[bytes] = io.BytesIO()

    def __getstate__(self) -> dict[str, Any]:
        return {"_root": self._root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._root, self._name, self._stream = state["_root"], "", io.BytesIO()

    def read(self, name: str, start: int, size: int) -> bytes:
        """Return a member's bytes.

        Raises:
            UnreadableImage: The tar is missing, damaged or cut short there, or it claims to be larger than any image.
        """
        if size > LARGEST:
            raise UnreadableImage(f"{size:,} bytes are too many for an image")
        try:
            data = patiently(lambda: self._read(name, start, size))
        except FileNotFoundError:
            raise UnreadableImage("its shard is missing") from None
        except (OSError, *_DAMAGE) as error:
            raise UnreadableImage(f"its part of the shard cannot be read ({type(error).__name__})") from error
        if len(data) < size:
            raise UnreadableImage("file is truncated")
        return data

    def _read(self, name: str, start: int, size: int) -> bytes:
        if self._name != name:
            self._stream.close()
            self._name, self._stream = "", _open(self._root / name)
            self._name = name
        self._stream.seek(start)
        return self._stream.read(size)


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return cast("IO[bytes]", gzip.GzipFile(path) if packed else path.open("rb"))
