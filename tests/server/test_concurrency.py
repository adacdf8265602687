"""Many threads at one time: nobody sees another's bytes, and the books add up."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from server_helpers import MIB, PAGE, Bench, Host, bench_of, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = 256


def churn(host: Host, seed: int) -> None:
    """Write, overwrite, trim and read back, all against a plain dict of pages."""
    draw = random.Random(seed)
    expected = {page: bytes(PAGE) for page in range(PAGES)}
    makers: list[Callable[[int, int], bytes]] = [prose, noise, lambda count, _: bytes(count * PAGE)]
    for step in range(30):
        first = draw.randrange(PAGES)
        count = draw.randint(1, min(64, PAGES - first))
        match draw.choice("wwwtr"):
            case "w":
                data = draw.choice(makers)(count, seed * 1000 + step)
                host.write(first, data)
                for page in range(count):
                    expected[first + page] = data[page * PAGE : (page + 1) * PAGE]
            case "t":
                host.trim(first, count)
                expected.update((page, bytes(PAGE)) for page in range(first, first + count))
            case "r":
                assert host.read(first, count) == b"".join(
                    expected[page] for page in range(first, first + count)
                )
    assert host.read(0, PAGES) == b"".join(expected[page] for page in range(PAGES))


def test_eight_hosts_at_one_time() -> None:
    """Each in a region of its own, over one channel, beside watchers."""
    with bench_of(physical=16 * MIB) as bench:
        hosts = [bench.attach(f"host-{number}", pages=PAGES) for number in range(8)]
        streams = [host.watch() for host in hosts]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(churn, hosts, range(8)))
        bench.audit()
        for host in hosts:
            host.detach()
        assert bench.status().telemetry.media_used_bytes == 0
        for stream in streams:
            stream.cancel()


def test_eight_threads_of_one_host() -> None:
    """Each on pages of its own in one region."""

    def work(slot: int) -> None:
        for round_ in range(20):
            data = prose(8, slot * 100 + round_) + noise(8, slot * 100 + round_)
            host.write(slot * 16, data)
            assert host.read(slot * 16, 16) == data

    with bench_of(physical=4 * MIB) as bench:
        host = bench.attach(pages=128)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))


def test_readers_see_whole_pages_only() -> None:
    """A page that is overwritten all the time is one of its versions at each read, never a mixture."""
    versions = {prose(1, version) for version in range(4)} | {noise(1, version) for version in range(4)}

    def write(host: Host) -> None:
        for page in sorted(versions) * 10:
            host.write(0, page)

    def read(host: Host) -> None:
        for _ in range(80):
            assert host.read(0, 1) in versions

    with bench_of() as bench:
        host = bench.attach(pages=8)
        host.write(0, prose(1, 0))
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(write, host), *(pool.submit(read, host) for _ in range(3))]:
                done.result()


def test_resets_beside_writers(bench: Bench) -> None:
    """Power is lost while others write: they are told, and may attach again at once."""

    def write(number: int) -> None:
        for round_ in range(10):
            host = bench.attach(f"host-{number}", pages=32, take_over=True)
            refusals = 0
            while not refusals and round_ < 9:
                reason = ""
                try:
                    host.write(0, prose(16, number))
                except grpc.RpcError:
                    reason = refused(host.telemetry).reason
                if reason:
                    assert reason == "STALE_GENERATION"
                    refusals += 1

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(write, number) for number in range(3)]
        while not all(one.done() for one in running):
            bench.reset()
        for one in running:
            one.result()
    bench.audit()
