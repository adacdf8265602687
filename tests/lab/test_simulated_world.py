"""Emulated time: tasks, waits and what is due, in an order that depends on nothing but the calls made."""

from __future__ import annotations

from functools import partial
from queue import Empty

import pytest

from cramlab.simulated.waiting import EmulatedFlag, EmulatedInbox
from cramlab.simulated.world import Stuck, World


def test_time_jumps_to_what_is_due() -> None:
    """A task that sleeps an hour costs nothing."""
    world = World()
    task = world.spawn("sleeper", lambda: world.sleep(3_600_000_000_000))
    world.run(lambda: not task.is_alive())
    assert world.now_ns == 3_600_000_000_000


def test_of_two_tasks_the_one_that_is_due_first_goes_on_first() -> None:
    """And of two that are due together, the one that said so first."""
    world, seen = World(), []

    def sleep(name: str, ns: int) -> None:
        world.sleep(ns)
        seen.append((name, world.now_ns))

    wanted = (("late", 20), ("early", 10), ("late too", 20))
    tasks = [world.spawn(name, partial(sleep, name, ns)) for name, ns in wanted]
    world.run(lambda: not any(task.is_alive() for task in tasks))
    assert seen == [("early", 10), ("late", 20), ("late too", 20)]


def test_a_wait_ends_when_it_is_woken_or_at_its_deadline() -> None:
    """As with threads: the answer says which."""
    world: World = World()
    flag, answers = EmulatedFlag(world), []

    def wait() -> None:
        answers.append((flag.wait(1.0), world.now_ns))
        answers.append((flag.wait(5.0), world.now_ns))
        answers.append((flag.wait(), world.now_ns))

    task = world.spawn("waiter", wait)
    world.at(2_000_000_000, flag.set)
    world.run(lambda: not task.is_alive())
    assert answers == [(False, 1_000_000_000), (True, 2_000_000_000), (True, 2_000_000_000)]


def test_an_inbox_gives_the_oldest_item_and_is_waited_for() -> None:
    """It is empty only once the wait is over."""
    world, got = World(), []
    inbox: EmulatedInbox[str] = EmulatedInbox(world)

    def read() -> None:
        got.append(inbox.get())
        got.append(inbox.get_nowait())
        with pytest.raises(Empty):
            inbox.get(timeout=0.5)

    task = world.spawn("reader", read)
    for item in ("first", "second"):
        world.at(10, partial(inbox.put, item))
    world.run(lambda: not task.is_alive())
    assert got == ["first", "second"]
    assert world.now_ns == 500_000_010


def test_what_a_task_raises_comes_out_of_the_world() -> None:
    """No mistake is lost in a task."""
    world = World()

    def fail() -> None:
        world.sleep(5)
        raise LookupError("here")

    task = world.spawn("failing", fail)
    with pytest.raises(LookupError, match="here"):
        world.run(lambda: False)
    assert not task.is_alive()


def test_a_world_in_which_nothing_is_due_says_who_waits() -> None:
    """A deadlock is an error with names, not a hang."""
    world = World()
    world.spawn("alone", EmulatedFlag(world).wait)
    with pytest.raises(Stuck, match="alone"):
        world.run(lambda: False)


def test_a_task_that_is_killed_cleans_up_and_is_joined() -> None:
    """As a process that goes: what it holds open is closed, and who waits for its end goes on."""
    world, seen = World(), []

    def live() -> None:
        try:
            world.sleep(1_000)
        finally:
            seen.append("cleaned up")

    victim = world.spawn("victim", live)

    def mourn() -> None:
        victim.join()
        seen.append("joined")

    mourner = world.spawn("mourner", mourn)
    world.at(10, victim.kill)
    world.run(lambda: not mourner.is_alive())
    assert seen == ["cleaned up", "joined"]
    assert world.now_ns == 10


def test_the_end_of_the_world_ends_all_tasks() -> None:
    """Those that never began, too."""
    world = World()
    waiting = world.spawn("waiting", EmulatedFlag(world).wait)
    with pytest.raises(Stuck):
        world.run(lambda: False)
    unborn = world.spawn("unborn", EmulatedFlag(world).wait)
    world.end()
    assert not waiting.is_alive()
    assert not unborn.is_alive()
