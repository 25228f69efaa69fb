"""Writing shards by whatever workers there are, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lingula.core.errors import UserError
from lingula.core.patience import patiently
from lingula.core.task_pool import Workers, task_pool
from lingula.data.identifiers import Pseudonyms
from lingula.data.prepare_config import PrepareConfig, PrepareVolumesConfig
from lingula.data.shards import shard_is_whole, write_shard
from lingula.data.store_schema import PREPARE_FILE
from lingula.data.study import Source, Study, part_of


class ShardPool:
    """Writes shards in workers that never import torch; one worker writes in this process.

    At most two shards per worker are under way, so memory is bounded by the shard size.

    Args:
        source: Where the images come from; what a shard needs of it is pickled with the shard.
        settings: What is stored of an image.
        workers: Who writes: processes of this machine or a Dask cluster.
        pseudonyms: What identifiers are replaced by; None: they are written as they are.
    """

    def __init__(
        self,
        source: Source,
        settings: PrepareConfig | PrepareVolumesConfig,
        workers: int | Workers,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self._source, self._settings, self._pseudonyms = source, settings, pseudonyms
        self._pool = task_pool(Workers(workers) if isinstance(workers, int) else workers)

    def __enter__(self) -> ShardPool:
        self._pool.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.__exit__(kind, value, trace)

    def submit(self, studies: list[Study], folder: Path, fingerprint: str) -> Iterator[int]:
        """Write one shard; yield how many studies were finished meanwhile.

        Raises:
            UserError: A worker died or cannot be reached.
        """
        shard = (part_of(self._source, studies), studies, self._settings, folder, fingerprint, self._pseudonyms)
        yield from self._pool.submit(len(studies), _write, *shard)

    def drain(self) -> Iterator[int]:
        """Wait for the shards under way; yield how many studies each had.

        Raises:
            UserError: A worker died or cannot be reached.
        """
        yield from self._pool.drain()


def _write(
    source: Source,
    studies: list[Study],
    settings: PrepareConfig | PrepareVolumesConfig,
    folder: Path,
    fingerprint: str,
    pseudonyms: Pseudonyms | None,
) -> None:
    """Write one shard unless it is there: a worker that was given up may have finished it.

    Raises:
        UserError: This machine does not see the store.
    """
    store = folder.parent.parent
    if not (store / PREPARE_FILE).is_file():
        raise UserError(f"a worker does not see the store {store}", "It must lie on a disk that all machines share.")
    if not shard_is_whole(folder, fingerprint):
        patiently(lambda: write_shard(source, studies, settings, folder, fingerprint, pseudonyms))
