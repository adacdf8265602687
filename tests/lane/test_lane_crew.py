"""The threads of a lane: no more at work than cores, a command put off is never forgotten, all end."""

from __future__ import annotations

import threading

import pytest

from cxldevd.lanes.crew import Crew

DEADLINE_S = 20.0


class Started:
    """Counts the threads that a crew asks for, and starts none: a test plays them one by one."""

    def __init__(self) -> None:
        self.threads = 0

    def __call__(self) -> None:
        """One more."""
        self.threads += 1


def crew_of(cores: int, most: int = 9) -> tuple[Crew[str], Started]:
    """A crew whose first thread listens."""
    started = Started()
    crew: Crew[str] = Crew(started, most=most, cores=cores)
    crew.begin()
    assert crew.next() is None, "nothing was heard yet: it listens"
    return crew, started


def test_another_listens_while_a_core_is_free() -> None:
    """With two cores, the one that goes to work calls a second thread."""
    crew, started = crew_of(cores=2)
    assert not crew.put_off("write")
    crew.hand_on()
    assert started.threads == 2


def test_nobody_is_called_for_work_that_no_core_is_free_for() -> None:
    """With both cores at work it is left to who is done first, which listens then."""
    crew, started = crew_of(cores=2)
    crew.hand_on()
    assert crew.next() is None
    crew.hand_on()
    assert started.threads == 2
    assert crew.next() is None


def test_a_thread_more_listens_beside_long_commands() -> None:
    """It puts large commands off, and whoever is done takes the one that came first."""
    crew, started = crew_of(cores=1)
    crew.hand_on(at_once=True)
    assert started.threads == 2
    assert crew.next() is None, "the second one listens"
    assert crew.put_off("first")
    assert crew.put_off("second")
    assert [crew.next(), crew.next()] == ["first", "second"], "the first one, when it is done each time"


@pytest.mark.parametrize("put_off", [False, True])
def test_who_waits_leaves_its_core_to_another(put_off: bool) -> None:
    """One more thread listens, or takes what was put off, while a command waits in a fault."""
    crew, started = crew_of(cores=1)
    crew.hand_on(at_once=put_off)
    if put_off:
        assert crew.next() is None
        assert crew.put_off("write")
    before = started.threads
    with crew.lock:
        crew.wait()
    assert started.threads == before + 1
    assert crew.next() == ("write" if put_off else None)
    with crew.lock:
        crew.go_on()


def test_there_is_an_end_to_threads() -> None:
    """As many as may be, and none more once they are dismissed."""
    crew, started = crew_of(cores=9, most=2)
    crew.hand_on()
    assert crew.next() is None
    crew.hand_on()
    assert started.threads == 2

    crew, started = crew_of(cores=9)
    with crew.lock:
        crew.dismiss()
    crew.hand_on()
    assert started.threads == 1
    assert crew.leave()


def test_a_thread_that_cannot_be_started_is_not_counted() -> None:
    """The system has no more threads: the crew knows how many it has all the same."""

    def refuse() -> None:
        raise RuntimeError("can't start new thread")

    crew: Crew[str] = Crew(refuse, most=9, cores=2)
    with pytest.raises(RuntimeError, match="new thread"):
        crew.begin()
    assert crew.threads == 0


def test_those_that_sleep_are_woken_one_after_the_other() -> None:
    """Threads that found a listener sleep, until it leaves; each of them then listens, and leaves."""
    last: list[bool] = []
    ended = threading.Event()

    def live() -> None:
        crew.next()
        crew.hand_on()
        last.append(crew.leave())
        if last[-1]:
            ended.set()

    def start() -> None:
        threading.Thread(target=live, daemon=True).start()

    crew: Crew[str] = Crew(start, most=9, cores=9)
    with crew.lock:
        for _ in range(5):
            start()
            crew.threads += 1
        crew.dismiss()
    assert ended.wait(DEADLINE_S)
    assert last == [False, False, False, False, True]


def test_what_is_put_off_is_never_forgotten() -> None:
    """Threads that work, listen and fall asleep in any order do every command once."""
    commands = [f"command {number}" for number in range(3000)]
    heard = iter(commands)
    done: list[str] = []
    ended = threading.Event()

    def live() -> None:
        while True:
            command = crew.next()
            listens = command is None
            while listens:
                command = next(heard, None)
                if command is None:
                    crew.hand_on()
                    break
                if not crew.put_off(command):
                    crew.hand_on(at_once=len(command) % 2 == 0)
                    listens = False
            if command is None:
                with crew.lock:
                    crew.dismiss()
                crew.hand_on()
                if crew.leave():
                    ended.set()
                return
            done.append(command)

    def start() -> None:
        threading.Thread(target=live, daemon=True).start()

    crew: Crew[str] = Crew(start, most=6, cores=2)
    crew.begin()
    assert ended.wait(DEADLINE_S)
    assert sorted(done) == sorted(commands)
