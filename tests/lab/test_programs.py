"""The programs that the demo shadows: each fills, works at its pace, and ends when it is told."""

from __future__ import annotations

import os
import select
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from cramlab.processes import ManagedProcess, ProgramProcess
from cramlab.programs.json_documents import Documents
from cramlab.programs.numeric_arrays import Arrays
from cramlab.programs.paced import Options
from cramlab.programs.sqlite_store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAMS = ("sqlite_store", "json_documents", "numeric_arrays")
SMALL = Options(mib=1, seed=5, rate=1000.0, ready_file=None)


@pytest.mark.e2e
@pytest.mark.parametrize("program", PROGRAMS)
def test_it_holds_what_it_was_told_and_ends_on_sigterm(tmp_path: Path, program: str) -> None:
    """The ready file says what it holds; SIGTERM is a normal end."""
    with ProgramProcess(tmp_path, program, args=["--mib", "2", "--rate", "500"]) as running:
        assert running.facts["pid"] == running.pid
        assert running.facts["data"] in running.log_text()
        assert running.terminate(10) == 0
    assert "steps, then holding" in running.log_text()


@pytest.mark.parametrize("make", [Store, Documents, Arrays], ids=PROGRAMS)
def test_steps_change_the_data_but_not_its_size(
    make: Callable[[Options], Store | Documents | Arrays],
) -> None:
    """Bounded memory: after many steps it describes itself as before, in its first word, a count."""
    program = make(SMALL)
    before = program.describe().split()[0]
    for _ in range(200):
        program.step()
    assert program.describe().split()[0] == before


def test_results_of_the_numeric_program_go_back_to_the_kernel() -> None:
    """Only the latest few are held: pages come and go."""
    arrays = Arrays(Options(mib=4, seed=5, rate=1000.0, ready_file=None))
    for _ in range(40 * 8):
        arrays.step()
    assert len(arrays._results) == 6


@pytest.mark.e2e
def test_it_does_not_outlive_who_started_it(tmp_path: Path) -> None:
    """A demo that was killed with -9 leaves no program behind."""
    code = (
        "import subprocess, sys, signal\n"
        "argv = [sys.executable, '-m', 'cramlab.programs.json_documents', '--mib', '1', '--rate', '200']\n"
        "child = subprocess.Popen([*argv, *sys.argv[1:]], start_new_session=True)\n"
        "signal.pause()\n"
    )
    # The ready file that the parent is told to write is the one that its child writes.
    with ManagedProcess(tmp_path, "parent", [sys.executable, "-c", code]) as parent:
        assert parent.facts["pid"] != parent.pid
        child = os.pidfd_open(parent.facts["pid"])
        parent.signal(signal.SIGKILL)
        ended = select.poll()
        ended.register(child, select.POLLIN)
        assert ended.poll(20_000), "the program still runs"
        os.close(child)
