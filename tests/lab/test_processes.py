"""Starting, waiting for, stopping and killing real processes. The children here are one-line Pythons."""

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from cramlab.processes import DeviceProcess, ManagedProcess, ProcessError, script

pytestmark = pytest.mark.e2e

SERVES = """
import json, os, signal, sys
path = sys.argv[sys.argv.index("--ready-file") + 1]
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
open(path + ".new", "w").write(json.dumps({"pid": os.getpid(), "address": "127.0.0.1:1"}))
os.replace(path + ".new", path)
signal.pause()
"""
DEAF = SERVES.replace("lambda *_: sys.exit(7)", "signal.SIG_IGN")
REFUSES = "print('port taken'); raise SystemExit(2)"
HAS_CHILD = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print(child.pid, flush=True)
path = sys.argv[sys.argv.index("--ready-file") + 1]
open(path, "w").write("{}")
child.wait()
"""


def python(
    tmp_path: Path, code: str, *, ready_file: bool = True, stop_deadline_s: float = 20
) -> ManagedProcess:
    """A process of this Python, started with nothing but the standard library."""
    return ManagedProcess(
        tmp_path,
        "child",
        [sys.executable, "-I", "-S", "-c", code],
        ready_file=ready_file,
        stop_deadline_s=stop_deadline_s,
    )


def test_it_serves_until_the_block_is_left(tmp_path: Path) -> None:
    """The ready file's facts are known inside the block; afterwards the process has ended by SIGTERM."""
    with python(tmp_path, SERVES) as child:
        assert child.running
        assert child.facts["pid"] == child.pid
    assert child.returncode == 7


def test_a_failure_inside_the_block_leaves_nothing_behind(tmp_path: Path) -> None:
    """The process ends although its user failed, and the user's error is the one that is seen."""
    child = python(tmp_path, SERVES)
    with pytest.raises(ZeroDivisionError), child:
        _ = 1 // 0
    assert not child.running


def test_a_process_that_dies_first_is_told_with_its_log(tmp_path: Path) -> None:
    """What it printed is in the message."""
    with pytest.raises(ProcessError, match=r"child ended with 2 before it served\n(.*\n)*.*port taken"):
        python(tmp_path, REFUSES).__enter__()


def test_a_process_that_never_serves_is_killed(tmp_path: Path) -> None:
    """The deadline is kept by the caller; the process does not outlive the failure."""
    child = python(tmp_path, "import signal; signal.pause()").start()
    with pytest.raises(ProcessError, match=r"did not serve within 0\.05 s"):
        child.wait_ready(0.05)
    child.kill()
    assert child.returncode == -signal.SIGKILL


def test_one_that_ignores_sigterm_is_killed_and_told(tmp_path: Path) -> None:
    """SIGKILL follows the deadline, and the block says that it had to."""
    child = python(tmp_path, DEAF, stop_deadline_s=0.05)
    with pytest.raises(ProcessError, match="still runs after"), child:
        pass
    assert child.returncode == -signal.SIGKILL


def test_kill_takes_its_children_along(tmp_path: Path) -> None:
    """A grandchild is of the same process group, and is gone too."""
    with python(tmp_path, HAS_CHILD) as child:
        grandchild = int(child.log_text().splitlines()[-1])
        watch = os.pidfd_open(grandchild)
        child.kill()
    poll = select.poll()
    poll.register(watch)
    assert poll.poll(5_000), f"process {grandchild} is still there"
    os.close(watch)


def test_starting_twice_is_refused(tmp_path: Path) -> None:
    """A second process under the same name would overwrite the first one's files."""
    with python(tmp_path, SERVES) as child, pytest.raises(ProcessError, match="runs already"):
        child.start()


def test_settings_of_the_caller_are_not_handed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CXLDEVD_* variable of the developer's shell must not change a test."""
    monkeypatch.setenv("CXLDEVD_PHYSICAL", "1GiB")
    monkeypatch.setenv("CRAMULATOR_TEST", "kept")
    code = "import os; print('CXLDEVD_PHYSICAL' in os.environ, os.environ['CRAMULATOR_TEST'])"
    child = python(tmp_path, code, ready_file=False).start()
    child.wait(10)
    assert child.log_text().splitlines()[-1] == "False kept"


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    """As a ProcessError, like everything else that goes wrong here."""
    with pytest.raises(ProcessError, match="cannot start ghost"):
        ManagedProcess(tmp_path, "ghost", ["/nonexistent/ghost"]).start()
    with pytest.raises(ProcessError, match="install cramulator"):
        script("cram-nonesuch")


def test_a_restarted_device_keeps_its_ports(tmp_path: Path) -> None:
    """Power lost and back: another process and generation at the same three addresses."""
    with DeviceProcess(tmp_path, physical="16MiB") as device:
        before = (device.address, device.operator_address, device.metrics_address)
        first = device.pid
        device.restart()
        assert device.pid != first
        assert (device.address, device.operator_address, device.metrics_address) == before
    assert device.returncode == 0
