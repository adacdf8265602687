"""Clients of the bench in processes of their own: several agents at once, and load beside a measurement."""

from __future__ import annotations

import multiprocessing
import signal
import time
from typing import TYPE_CHECKING, Any, Final

from cramlab.bench.rows import PAGE_BYTES
from cramwire.transport import tune_malloc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path
    from typing import Self

_SPAWN: Final = multiprocessing.get_context("spawn")
"""gRPC does not survive a fork."""
_BATCH: Final = 256
_IN_FLIGHT: Final = 4
_START_S: Final = 60.0
_GRACE_S: Final = 60.0
_TRIM_RANGE_PAGES: Final = 1024
_UNTIL_ALL_KNOW_S: Final = 0.05


class WorkerFailed(Exception):
    """A worker ended, or could not do its work; one line."""


class Worker:
    """One client process, attached to a region of its own whose pages are all written.

    Args:
        address: the device's host listener.
        host: its name there.
        corpus_path: the pages, as `numpy.save` wrote them.
        pages: how many of them.
    """

    def __init__(self, address: str, host: str, corpus_path: Path, pages: int) -> None:
        self._name = host
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(
            target=_work, args=(theirs, address, host, str(corpus_path), pages), daemon=True
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def wait_ready(self) -> None:
        """Wait until its region is filled.

        Raises:
            WorkerFailed: it is not.
        """
        self._hear(_START_S)

    def begin(self, work: str, begins: float, ends: float) -> None:
        """Do `write`, `read` or `churn` between these moments of `time.monotonic()`."""
        self._pipe.send((work, begins, ends))
        self._deadline = ends

    def pages(self) -> int:
        """Wait for the end of the work; the pages done.

        Raises:
            WorkerFailed: the device refused, or wrong bytes came back.
        """
        return self._hear(self._deadline - time.monotonic() + _GRACE_S)

    def _hear(self, timeout_s: float) -> int:
        try:
            if not self._pipe.poll(timeout_s):
                raise WorkerFailed(f"{self._name} says nothing for {timeout_s:.0f} s")
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise WorkerFailed(f"{self._name} has ended") from error
        if isinstance(answer, str):
            raise WorkerFailed(f"{self._name}: {answer}")
        return int(answer)


def together(workers: Sequence[Worker], work: str, seconds: float) -> list[int]:
    """All do the same for as long; the pages of each.

    Raises:
        WorkerFailed: one did not.
    """
    begins = time.monotonic() + _UNTIL_ALL_KNOW_S
    for worker in workers:
        worker.begin(work, begins, begins + seconds)
    return [worker.pages() for worker in workers]


def _work(pipe: Connection[Any, Any], address: str, host: str, corpus_path: str, pages: int) -> None:
    """The process. Whoever started it ends it: Ctrl-C is for the one in front."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_malloc()
    # After malloc was told: both load grpc.
    import numpy as np  # noqa: PLC0415

    from cramlab.bench.wire import BenchError, BenchHost  # noqa: PLC0415

    try:
        content = np.ascontiguousarray(np.load(corpus_path, mmap_mode="r")[:pages])
        dpas = np.random.default_rng(pages).permutation(pages).astype(np.uint64) * np.uint64(PAGE_BYTES)
        with BenchHost(address, pages, host) as client:

            def churn(ends: float) -> int:
                done = 0
                while time.monotonic() < ends:
                    client.write(dpas, content, batch=_BATCH, in_flight=_IN_FLIGHT)
                    client.trim_all(pages, _TRIM_RANGE_PAGES)
                    done += pages
                return done

            def write(ends: float) -> int:
                return client.write_until(ends, dpas, content, batch=_BATCH, in_flight=_IN_FLIGHT)

            def read(ends: float) -> int:
                return client.read_until(ends, dpas, content, batch=_BATCH, in_flight=_IN_FLIGHT)

            works: dict[str, Callable[[float], int]] = {"write": write, "read": read, "churn": churn}
            client.write(dpas, content, batch=_BATCH, in_flight=_IN_FLIGHT)
            pipe.send(pages)
            while True:
                work, begins, ends = pipe.recv()
                time.sleep(max(0.0, begins - time.monotonic()))
                pipe.send(works[work](ends))
    except EOFError:
        pass  # the bench is over
    except (BenchError, OSError, ValueError) as error:
        pipe.send(str(error))
