"""What a user would pick instead: nbdkit's memory plugin with `allocator=zstd`, on the same pages.

It keeps zstd-compressed blocks of 32 KiB behind one lock. What it does with 32 requests outstanding, we
do with one batch of 32 pages: a host that has 32 pages to move has them at one time.
"""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

from cramlab.bench.nbd_client import NbdClient
from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_least, at_most, megabytes_per_second
from cramlab.bench.suite import NotAvailable
from cramlab.bench.wire import call_seconds, compare
from cramlab.processes import ManagedProcess, ProcessError
from cramlab.usage import resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from cramlab.bench.corpus import Pages
    from cramlab.bench.suite import Bench
    from cramlab.bench.wire import PageHost

    Opener = Callable[[Bench, str], AbstractContextManager[tuple[PageHost, int]]]
    """Starts a device: a region on it that holds nothing yet, and the device's process id."""

_SEQUENTIAL_PAGES: Final = 1024
"""Of a batch of ours."""
_NBDKIT_SEQUENTIAL_PAGES: Final = 256
"""Of a request of nbdkit: 1 MiB, where it writes fastest."""
_SEQUENTIAL_OUTSTANDING: Final = 4
_RANDOM_PAGES: Final = 4096
"""Read, and overwritten, at random after the fill."""
_MIB: Final = 1 << 20
_START_S: Final = 10.0


def require_nbdkit() -> str:
    """Its command.

    Raises:
        NotAvailable: it is not installed, or has no memory plugin that compresses.
    """
    command = shutil.which("nbdkit")
    if command is None:
        raise NotAvailable("nbdkit is not installed (Debian and Fedora: package nbdkit)")
    return command


class NbdkitProcess(ManagedProcess):
    """`nbdkit memory allocator=zstd` on a unix socket."""

    def __init__(self, folder: Path, name: str, size: int) -> None:
        self.socket = folder / f"{name}.sock"
        self._pid_file = folder / f"{name}.pid"
        argv = [
            require_nbdkit(),
            "--foreground",
            "--unix",
            str(self.socket),
            "--pidfile",
            str(self._pid_file),
        ]
        super().__init__(folder, name, [*argv, "memory", str(size), "allocator=zstd"], ready_file=False)

    def wait_serving(self) -> None:
        """Wait until clients can connect.

        Raises:
            ProcessError: it ended first, or takes too long.
        """
        until = time.monotonic() + _START_S
        while not self._pid_file.exists():
            if not self.running or time.monotonic() > until:
                raise ProcessError(f"nbdkit does not serve{self.log_tail()}")
            time.sleep(0.01)


@contextmanager
def serving(bench: Bench, name: str) -> Iterator[tuple[NbdClient, int]]:
    """A fresh nbdkit with room for the corpus: a connection to it, and its process id."""
    for left in (bench.folder / f"{name}.sock", bench.folder / f"{name}.pid"):
        left.unlink(missing_ok=True)
    with NbdkitProcess(bench.folder, name, bench.corpus.pages.nbytes) as process:
        process.wait_serving()
        with NbdClient(process.socket) as client:
            yield client, process.pid


@dataclass(frozen=True, slots=True)
class Store:
    """One side of the comparison: pages at addresses, so many outstanding. Both return seconds."""

    write: Callable[[NDArray[np.uint64], Pages, int], float]
    read: Callable[[NDArray[np.uint64], Pages, int], float]
    sequential_write: Callable[[Pages], float]
    sequential_read: Callable[[Pages], float]
    pid: int


def nbdkit_store(client: NbdClient, pid: int, landing: Pages) -> Store:
    """The side of nbdkit. What it reads is compared after the clock has stopped, as ours is."""

    def write(dpas: NDArray[np.uint64], pages: Pages, outstanding: int) -> float:
        offsets, data = dpas.tolist(), pages.data.cast("B")
        begun = time.perf_counter()
        client.write(offsets, data, PAGE_BYTES, outstanding)
        return time.perf_counter() - begun

    def read(dpas: NDArray[np.uint64], expected: Pages, outstanding: int) -> float:
        found = landing[: len(dpas)]
        offsets, into = dpas.tolist(), found.reshape(-1).data
        begun = time.perf_counter()
        client.read(offsets, into, PAGE_BYTES, outstanding)
        seconds = time.perf_counter() - begun
        compare(found, expected)
        return seconds

    size = _NBDKIT_SEQUENTIAL_PAGES * PAGE_BYTES

    def sequential_write(pages: Pages) -> float:
        begun = time.perf_counter()
        client.write(range(0, pages.nbytes, size), pages.data.cast("B"), size, _SEQUENTIAL_OUTSTANDING)
        return time.perf_counter() - begun

    def sequential_read(expected: Pages) -> float:
        begun = time.perf_counter()
        into = landing.reshape(-1).data
        client.read(range(0, expected.nbytes, size), into, size, _SEQUENTIAL_OUTSTANDING)
        seconds = time.perf_counter() - begun
        compare(landing[: len(expected)], expected)
        return seconds

    return Store(write, read, sequential_write, sequential_read, pid)


def our_store(host: PageHost, pid: int) -> Store:
    """Our side: outstanding pages are one batch."""

    def write(dpas: NDArray[np.uint64], pages: Pages, outstanding: int) -> float:
        return host.write(dpas, pages, batch=outstanding, in_flight=1)

    def read(dpas: NDArray[np.uint64], expected: Pages, outstanding: int) -> float:
        return host.read(dpas, expected, batch=outstanding, in_flight=1)

    def sequential_write(pages: Pages) -> float:
        return host.write(_in_order(pages), pages, batch=_SEQUENTIAL_PAGES, in_flight=_SEQUENTIAL_OUTSTANDING)

    def sequential_read(expected: Pages) -> float:
        return host.read(
            _in_order(expected), expected, batch=_SEQUENTIAL_PAGES, in_flight=_SEQUENTIAL_OUTSTANDING
        )

    return Store(write, read, sequential_write, sequential_read, pid)


class AgainstNbdkit:
    """The same work on a fresh device and on a fresh nbdkit, once a round."""

    def __init__(self, prefix: str, opener: Opener, *, sequential: tuple[float, float]) -> None:
        against = "nbdkit memory allocator=zstd"
        self._prefix = prefix
        self._opener = opener
        write, read = sequential
        self.figures = (
            Figure(f"{prefix}random-write-1", "pages/s", against),
            Figure(f"{prefix}random-write-32", "pages/s", against, at_least(10)),
            Figure(f"{prefix}random-read-1", "pages/s", against),
            Figure(f"{prefix}random-read-32", "pages/s", against, at_least(4)),
            Figure(f"{prefix}sequential-write", "MB/s", against, at_least(write)),
            Figure(f"{prefix}sequential-read", "MB/s", against, at_least(read)),
            Figure(f"{prefix}memory-random", "MiB", against, at_most(1)),
            Figure(f"{prefix}memory-sequential", "MiB", against),
        )

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """All of it: first theirs, then ours."""
        require_nbdkit()
        count = len(bench.corpus.pages) // _SEQUENTIAL_PAGES * _SEQUENTIAL_PAGES
        pages, order = bench.corpus.pages[:count], draw.permutation(count)
        landing = np.ones_like(pages)
        with serving(bench, "nbdkit-random") as (client, pid):
            raw = _measure_random(nbdkit_store(client, pid, landing), pages, order, bench.scale.calls)
        with serving(bench, "nbdkit-sequential") as (client, pid):
            raw |= _measure_sequential(nbdkit_store(client, pid, landing), pages)
        with self._opener(bench, f"beside-{self._prefix}random") as (host, pid):
            ours = _measure_random(our_store(host, pid), pages, order, bench.scale.calls)
        with self._opener(bench, f"beside-{self._prefix}sequential") as (host, pid):
            ours |= _measure_sequential(our_store(host, pid), pages)
        return {self._prefix + name: Sample(ours[name], raw[name]) for name in ours}


def _measure_random(store: Store, pages: Pages, order: NDArray[np.int64], calls: int) -> dict[str, float]:
    """Fill one side in this order, 32 outstanding; then overwrite and read at random."""
    before = resident_bytes(store.pid)
    store.write(order.astype(np.uint64) * np.uint64(PAGE_BYTES), pages[order], 32)
    values = {"memory-random": (resident_bytes(store.pid) - before) / _MIB}
    for count, outstanding in ((_RANDOM_PAGES, 32), (calls, 1)):
        # The pages that were written first.
        chosen = order[:count]
        dpas = chosen.astype(np.uint64) * np.uint64(PAGE_BYTES)
        values[f"random-write-{outstanding}"] = len(chosen) / store.write(dpas, pages[chosen], outstanding)
        values[f"random-read-{outstanding}"] = len(chosen) / store.read(dpas, pages[chosen], outstanding)
    return values


def _measure_sequential(store: Store, pages: Pages) -> dict[str, float]:
    """Fill one side from the first page to the last; then overwrite all, and read all, in that order."""
    before = resident_bytes(store.pid)
    store.sequential_write(pages)
    grown = resident_bytes(store.pid) - before
    # The first pass faulted in memory and buffers that the second finds there, on both sides.
    written = megabytes_per_second(len(pages), store.sequential_write(pages))
    store.sequential_read(pages)
    read = megabytes_per_second(len(pages), store.sequential_read(pages))
    return {"sequential-write": written, "sequential-read": read, "memory-sequential": grown / _MIB}


def nbdkit_page_seconds(client: NbdClient, dpas: NDArray[np.uint64], pages: Pages, *, reads: bool) -> float:
    """Median seconds of one 4 KiB request, one after the other."""
    store = nbdkit_store(client, 0, np.ones((1, PAGE_BYTES), dtype=np.uint8))
    call = store.read if reads else store.write
    return median(call(dpas[at : at + 1], pages[at : at + 1], 1) for at in range(len(dpas)))


def our_page_seconds(host: PageHost, dpas: NDArray[np.uint64], pages: Pages, *, reads: bool) -> float:
    """The same of ours."""
    return median(call_seconds(host, dpas, pages, reads=reads))


def _in_order(pages: Pages) -> NDArray[np.uint64]:
    return np.arange(len(pages), dtype=np.uint64) * np.uint64(PAGE_BYTES)
