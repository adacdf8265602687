"""Device time by the documented formula."""

from __future__ import annotations

from cxldev.config import LatencyConfig
from cxldev.faults import LatencyFault
from emulator_helpers import Bench, at, random_page, random_pages, same_page, small_config


def bench(**changes: int) -> Bench:
    """A device with these latencies."""
    return Bench(small_config(latency=LatencyConfig(**changes)))


def test_one_page_with_the_defaults() -> None:
    """Written: base. Read: base, for it is in the block cache; and with decompression once it is not."""
    device = bench()
    ref = device.attach(pages=256)
    assert device.write(ref, 0, random_page(1, 500)).device_ns == 250
    assert device.read_outcome(ref, 0).device_ns == 250
    device.write(ref, 64, random_page(2, 500))  # the same slot of 64
    assert device.read_outcome(ref, 0).device_ns == 850
    assert device.read_outcome(ref, 0).device_ns == 250


def test_pages_without_decompression() -> None:
    """Empty, same-filled and raw pages cost no decompression, cached or not."""
    device = bench(block_cache_pages=0)
    ref = device.attach()
    device.write(ref, 0, same_page(b"x") + random_page(1))
    assert [device.read_outcome(ref, page).device_ns for page in (0, 1, 2)] == [250] * 3


def test_pages_are_shared_out_to_the_engines() -> None:
    """ceil(sum / engines), and no less than the longest."""
    device = bench(block_cache_pages=0, engines=4)
    ref = device.attach()
    device.write(ref, 0, random_pages(10, seed=3))
    cost = [device.read_outcome(ref, page).device_ns for page in range(10)]
    assert device.read_outcome(ref, 0, 10).device_ns == -(-sum(cost) // 4)
    assert device.read_outcome(ref, 0, 2).device_ns == max(cost[:2])


def test_written_pages_are_shared_out_to_the_engines() -> None:
    """The same: few pages take as long as the longest, many as an engine's share."""
    device = bench(engines=4, per_sector_ns=10, compress_ns=100)
    ref = device.attach()
    cost = [device.write(ref, page, random_page(page, 1_000 + 300 * page)).device_ns for page in range(9)]
    assert len(set(cost)) > 5
    for count in range(1, 10):
        data = b"".join(random_page(page, 1_000 + 300 * page) for page in range(count))
        expected = max(*cost[:count], -(-sum(cost[:count]) // 4)) if count > 1 else cost[0]
        assert device.write(ref, 0, data).device_ns == expected


def test_sectors_and_compression_cost_what_they_are_set_to() -> None:
    """A raw page has 64 sectors; a same-filled one is not compressed."""
    device = bench(per_sector_ns=10, compress_ns=1_000)
    ref = device.attach()
    assert device.write(ref, 0, random_page(1)).device_ns == 250 + 640 + 1_000
    assert device.write(ref, 1, same_page(b"y")).device_ns == 250
    two = device.write(ref, 2, same_page(b"y") + random_page(2))
    assert two.device_ns == 250 + 640 + 1_000


def test_waiting_behind_others_is_bounded() -> None:
    """in_flight * 850 / 4, at most the tail."""
    device = bench()
    ref = device.attach()
    for in_flight, wait in ((0, 0), (1, 212), (4, 850), (1_000_000, 1_000)):
        ticket = device.device.begin_write(ref, at(0), 4096, 0)
        packed = device.codec.compress(random_page(1))
        outcome = device.device.commit_write(ticket, packed, 0, in_flight_pages=in_flight)
        assert outcome.device_ns == 250 + wait


def test_trim_forgets_what_the_block_cache_held() -> None:
    """What is written there next is not found by accident."""
    device = bench()
    ref = device.attach()
    device.write(ref, 0, random_page(1, 100) + random_page(2, 100))
    device.trim(ref, 0)
    tags = device.device._power.latency._tags
    assert (tags >= 0).sum() == 1


def test_a_latency_fault_adds_to_every_data_command() -> None:
    """Device time and wall time apart."""
    device = bench()
    ref = device.attach()
    device.inject(LatencyFault(device_ns=7, wall_ns=1_000_000))
    device.inject(LatencyFault(device_ns=1))
    written = device.write(ref, 0, random_page(1, 100))
    read = device.read_outcome(ref, 0)
    trimmed = device.trim(ref, 0)
    flushed = device.device.flush_done(device.device.begin_flush(ref, device.now_ns), device.now_ns)
    assert flushed is not None
    assert [one.device_ns for one in (written, read, trimmed, flushed)] == [258] * 4
    assert [one.wall_ns for one in (written, read, trimmed, flushed)] == [1_000_000] * 4
    assert [fault.fired for fault in device.device.status(0).faults] == [4, 4]


def test_one_page_costs_the_same_alone_and_in_company() -> None:
    """The path for single pages follows the same formula: hits, misses and kinds, with sectors charged."""
    for slots in (0, 8):
        data = random_pages(30, seed=4) + same_page(b"x") + random_page(5)
        costs = []
        for step in (1, 2):
            device = bench(block_cache_pages=slots, engines=1, per_sector_ns=3, queue_tail_ns=0)
            ref = device.attach()
            device.write(ref, 0, data)
            total = sum(device.read_outcome(ref, page, step).device_ns for page in range(0, 32, step))
            costs.append(total + device.read_outcome(ref, 24, 8).device_ns)
        assert costs[0] == costs[1]
