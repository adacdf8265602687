"""Cyclic garbage of the interpreter: looked for beside the calls and often, instead of within them and late.

A call that broke leaves a cycle behind: its frames, and grpc's objects for it, a hundred objects to the
interpreter. Looking for cycles whenever 700 objects are new took a thirtieth of a read, for each page of a
batch is an object for a moment, and none of them is part of a cycle. Looking every 20,000 objects, and among
the young ones only, kept all of an open call whose host was killed: measured, 110 KB each.
"""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW_OBJECTS: Final = 20_000
"""Before the interpreter looks by itself, in the middle of a call: a bound for bursts."""
INTERVAL_S: Final = 2.0


def keep_what_there_is() -> None:
    """What is there by now (modules, the service) is never looked through again: that takes 8 ms a time."""
    gc.collect()
    gc.freeze()


@contextmanager
def collected(interval_s: float = INTERVAL_S) -> Iterator[None]:
    """While this is entered, cycles are gone an interval after they were left. One in a process."""
    before = gc.get_threshold()
    gc.set_threshold(_NEW_OBJECTS)
    over = threading.Event()

    def run() -> None:
        while not over.wait(interval_s):
            # All of it: an open call's objects are old by the time that the call breaks.
            gc.collect()

    thread = threading.Thread(target=run, name="cxldevd-garbage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.set_threshold(*before)
