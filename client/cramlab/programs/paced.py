"""What the programs share: their options, a steady pace, and how they end."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cramwire.ready import write_ready

if TYPE_CHECKING:
    from collections.abc import Callable

MIB: Final = 1 << 20

# linux/prctl.h
_PR_SET_PTRACER: Final = 0x59616D61
_PR_SET_PTRACER_ANY: Final = ctypes.c_ulong(-1)


@dataclass(frozen=True, slots=True)
class Options:
    """What a program is told on its command line."""

    mib: int
    """Size of the data that it holds, MiB; the interpreter comes on top of it."""
    seed: int
    rate: float
    """Steps per second."""
    ready_file: Path | None


def parse_options(what: str, *, mib: int, rate: float) -> Options:
    """Options from the command line; `what` is the program's help, the rest its defaults."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--mib", type=int, default=mib, help="data to hold, MiB (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all random choices (default %(default)s)")
    parser.add_argument("--rate", type=float, default=rate, help="steps per second (default %(default)s)")
    parser.add_argument("--ready-file", type=Path, help="written once the data is held")
    given = parser.parse_args()
    if given.mib < 1 or given.rate <= 0:
        parser.error("--mib is at least 1, --rate above 0")
    return Options(given.mib, given.seed, given.rate, given.ready_file)


def run_until_told(options: Options, step: Callable[[], None], describe: Callable[[], str]) -> None:
    """Call `step` at a steady rate until SIGTERM or SIGINT comes, or whoever started this is gone.

    Steps that fall behind (a busy machine) are dropped, not caught up with.
    """
    _let_agents_read()
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    parent = os.getppid()
    if options.ready_file is not None:
        write_ready(options.ready_file, {"pid": os.getpid(), "data": describe()})
    sys.stdout.write(f"holding {describe()}\n")
    steps = 0
    due = time.monotonic()
    while not told and os.getppid() == parent:
        step()
        steps += 1
        due = max(due + 1 / options.rate, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    sys.stdout.write(f"{steps} steps, then holding {describe()}\n")


def _let_agents_read() -> None:
    """Let other processes of this user read this one's memory, also where Yama allows only a parent to.

    An agent is a sibling. Kernels without Yama do not know the request, and do not need it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)
