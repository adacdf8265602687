"""Threads that the agent's clock lends."""

from __future__ import annotations

import threading

from agent_helpers import DEADLINE_S
from cramagent.clock import SystemClock


def test_a_thread_is_lent_again() -> None:
    """Work that comes one after the other is done by one thread; work at the same time by several."""
    clock = SystemClock()
    done, first, second = threading.Semaphore(0), threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def wait_for(event: threading.Event) -> None:
        threads.append(threading.current_thread())
        assert event.wait(DEADLINE_S)
        done.release()

    clock.lend("lent", lambda: wait_for(first))
    clock.lend("lent", lambda: wait_for(second))
    first.set()
    second.set()
    for _ in range(2):
        assert done.acquire(timeout=DEADLINE_S)
    assert len(set(threads)) == 2
    for _ in range(3):
        clock.lend("lent", lambda: wait_for(first))
        assert done.acquire(timeout=DEADLINE_S)
    assert all(thread.daemon and thread.name == "lent" for thread in threads)
    assert len(set(threads)) <= 3
