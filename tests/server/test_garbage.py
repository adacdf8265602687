"""Cyclic garbage does not lie about until 20,000 objects are new."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from cxldevd.garbage import collected


class Node:
    """Part of a cycle of one."""

    def __init__(self) -> None:
        self.itself = self


def test_a_cycle_is_gone_soon() -> None:
    """A single one, that no count of objects would have the interpreter look for."""
    gone = threading.Event()
    with collected(interval_s=0.001):
        weakref.finalize(Node(), gone.set)
        assert gone.wait(10)


def test_a_cycle_that_lived_long_is_gone_as_soon() -> None:
    """The objects of an open call are old when its host is killed: no look at the young ones finds them."""
    gone = threading.Event()
    long_lived = Node()
    weakref.finalize(long_lived, gone.set)
    gc.collect()
    gc.collect()
    with collected(interval_s=0.001):
        del long_lived
        assert gone.wait(10)


def test_the_interpreter_looks_as_before_when_it_is_over() -> None:
    """Also when what ran within failed."""
    before, failed = gc.get_threshold(), "what ran within"

    def run() -> None:
        with collected():
            assert gc.get_threshold() != before
            raise ValueError(failed)

    with pytest.raises(ValueError, match=failed):
        run()
    assert gc.get_threshold() == before
    assert "cxldevd-garbage" not in {thread.name for thread in threading.enumerate()}
