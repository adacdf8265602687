"""The parts that let the service wait without polling, and tests without sleeping."""

from __future__ import annotations

import threading
import time

from cxldevd.clock import ManualClock, SystemClock
from cxldevd.ids import Ids
from cxldevd.wake import Wake
from server_helpers import DEADLINE_S, SECOND


def test_a_stroke_is_not_missed() -> None:
    """Who looked before it rang does not wait."""
    wake = Wake(ManualClock())
    seen = wake.strokes
    wake.ring()
    assert wake.wait(seen)


def test_a_deadline_ends_the_wait() -> None:
    """By the clock that was given."""
    clock = ManualClock()
    wake = Wake(clock)
    assert not wake.wait(wake.strokes, clock.now_ns())
    rung: list[bool] = []
    thread = threading.Thread(target=lambda: rung.append(wake.wait(0, 5 * SECOND)))
    thread.start()
    assert clock.until_waited_for(5 * SECOND)
    clock.advance(4 * SECOND)
    clock.advance(SECOND)
    thread.join(DEADLINE_S)
    assert rung == [False]


def test_all_waiters_wake() -> None:
    """One stroke is for everybody."""
    clock = ManualClock()
    wake = Wake(clock)
    threads = [threading.Thread(target=wake.wait, args=(0, SECOND)) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert clock.until_waited_for(SECOND, waiters=5)
    wake.ring()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_the_system_clock_waits_in_real_time() -> None:
    """A millisecond takes a millisecond; what is past takes nothing."""
    clock = SystemClock()
    wake = Wake(clock)
    began = clock.now_ns()
    assert not wake.wait(0, began + 1_000_000)
    assert clock.now_ns() - began >= 1_000_000
    assert not wake.wait(0, began)
    assert abs(clock.wall_ns() - time.time_ns()) < 10 * SECOND


def test_a_manual_clock_moves_wall_time_too() -> None:
    """Both by the same."""
    clock = ManualClock(now_ns=5, wall_ns=1000)
    clock.advance(7)
    assert (clock.now_ns(), clock.wall_ns()) == (12, 1007)


def test_ids_have_their_shapes() -> None:
    """Hex digits; a seed repeats them."""
    one, same, other = Ids(1), Ids(1), Ids()
    generation = one.generation()
    assert len(generation) == 16
    assert len(one.session()) == 32
    assert same.generation() == generation != other.generation()
