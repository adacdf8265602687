"""What a look at `/metrics` takes where many pages are stored for many hosts, and what it does to a host."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from typing import TYPE_CHECKING, Final

import numpy as np

from cramlab.bench.events import percentile
from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_most
from cramlab.bench.wire import BenchError, BenchHost, call_seconds
from cramlab.bench.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cramlab.bench.suite import Bench

REGIONS: Final = 64
_MEDIA: Final = "6GiB"
"""More than a million pages can take, whatever they hold."""
_WRITER_PAGES: Final = 2048
_SCRAPES: Final = 40
"""Of a device at rest, in a round."""
_EVERY_S: Final = 0.1
"""Between two scrapes beside other work: a hundred times what Prometheus asks by default."""
_TURNS: Final = 4
"""Of the single pages, with scrapes and without."""
_TIMEOUT_S: Final = 30.0
_AS_PROMETHEUS: Final = {
    "Accept": "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "Accept-Encoding": "gzip",
}


class Scrapes:
    """A device of its own, filled once: its pages are shared out among the regions."""

    figures = (
        Figure("scrape-p50", "ms", "", at_most(50)),
        Figure("scrape-p99", "ms"),
        Figure("scrape-beside-writes-p50", "ms", "", at_most(50)),
        Figure("scrape-beside-writes-p99", "ms"),
        Figure("write-1-beside-scrapes-p50", "us", "the same without scrapes"),
        Figure("write-1-beside-scrapes-p99", "us", "the same without scrapes"),
    )

    def __init__(self) -> None:
        self._parts: tuple[str, BenchHost, Worker] | None = None

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Ms of a scrape, as Prometheus asks; us of one page, every tenth of a second scraped or not."""
        address, host, writer = self._parts or self._start(bench)
        rest = [scrape_seconds(address) for _ in range(_SCRAPES)]
        beside = _scrapes_beside(writer, address, 2 * bench.scale.window_s)
        dpas, pages = bench.placed(draw, bench.scale.calls)
        dpas %= np.uint64(bench.scale.many_pages // REGIONS * PAGE_BYTES)
        alone: list[float] = []
        scraped: list[float] = []
        for _ in range(_TURNS):
            alone += call_seconds(host, dpas, pages, reads=False)
            with _scraped(address):
                scraped += call_seconds(host, dpas, pages, reads=False)
        samples = {}
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            samples[f"scrape-{name}"] = Sample(percentile(rest, share) * 1e3)
            samples[f"scrape-beside-writes-{name}"] = Sample(percentile(beside, share) * 1e3)
            samples[f"write-1-beside-scrapes-{name}"] = Sample(
                percentile(scraped, share) * 1e6, percentile(alone, share) * 1e6
            )
        return samples

    def _start(self, bench: Bench) -> tuple[str, BenchHost, Worker]:
        device = bench.stack.enter_context(bench.start_device("scraped", physical=_MEDIA))
        each, corpus = bench.scale.many_pages // REGIONS, bench.corpus.pages
        # One region less: the writer has the last.
        hosts = [
            bench.stack.enter_context(BenchHost(device.address, each, f"scraped-{number}"))
            for number in range(REGIONS - 1)
        ]
        dpas = np.arange(each, dtype=np.uint64) * np.uint64(PAGE_BYTES)
        content = corpus[np.arange(each) % len(corpus)]
        for host in hosts:
            host.write(dpas, content, batch=1024, in_flight=4)
        pages = min(_WRITER_PAGES, len(corpus))
        writer = bench.stack.enter_context(Worker(device.address, "writer", bench.corpus_path, pages))
        writer.wait_ready()
        self._parts = device.metrics_address, hosts[0], writer
        return self._parts


def scrape_seconds(address: str) -> float:
    """Seconds from the connection to the last byte of `/metrics`.

    Raises:
        BenchError: nobody answers, or not with metrics.
    """
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics", headers=_AS_PROMETHEUS)
        answer = connection.getresponse()
        answer.read()
    except OSError as error:
        raise BenchError(f"the metrics at {address} cannot be read: {error}") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise BenchError(f"the metrics at {address} answer {answer.status}")
    return time.perf_counter() - begun


def _scrapes_beside(writer: Worker, address: str, seconds: float) -> list[float]:
    """Seconds of each scrape while the writer writes all it can."""
    begins = time.monotonic() + _EVERY_S
    ends = begins + seconds
    writer.begin("write", begins, ends)
    taken: list[float] = []
    while time.monotonic() < ends:
        time.sleep(_EVERY_S)
        taken.append(scrape_seconds(address))
    writer.pages()
    return taken


@contextlib.contextmanager
def _scraped(address: str) -> Iterator[None]:
    """While this is entered, the device is scraped again and again."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(_EVERY_S):
            scrape_seconds(address)

    scraper = threading.Thread(target=run, name="scrapes", daemon=True)
    scraper.start()
    try:
        yield
    finally:
        ended.set()
        scraper.join()
