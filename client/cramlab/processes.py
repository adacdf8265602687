"""Real processes of the bench: started, waited for until they serve, stopped or killed, never left behind.

For the demo, the end-to-end tests and anybody's own tests:

    with DeviceProcess(folder, physical="64MiB") as device:
        with AgentProcess(folder, device.address, "synthetic", args=["--duration", "5s"]) as agent:
            agent.wait(deadline_s=30)
        print(agent.report())

Every process is the leader of a session of its own, so that Ctrl-C on a terminal reaches only the
one that started them, which then stops them in its own order. Leaving the `with` block ends the
process whatever happened in it: SIGTERM first, SIGKILL once its deadline has passed. Its output is
a file in `folder`, which stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

START_DEADLINE_S: Final = 30.0
"""How long a process may take until it serves. Generous: a busy machine imports slowly."""
STOP_DEADLINE_S: Final = 20.0
"""How long a process may take to end after SIGTERM (an agent verifies all its pages first)."""

_POLL_S: Final = 0.01
_SETTINGS_OF_OURS: Final = ("CXLDEVD_", "CRAM_AGENT_", "CRAMCTL_")
_LOG_TAIL_LINES: Final = 15


class ProcessError(RuntimeError):
    """A process did not do what it was started for. The message ends with the tail of its log."""


class ManagedProcess:
    """One process with a log, and, if it writes one, a ready file.

    Args:
        folder: where its log and its ready file go (made if absent).
        name: names both files; unique within the folder.
        argv: the command. `--ready-file PATH` is added to it if `ready_file` is set.
        ready_file: whether the command takes `--ready-file` (as all daemons here do).
        stop_deadline_s: how long SIGTERM has before SIGKILL follows, when the `with` block is left.

    Settings of cramulator in the caller's environment (CXLDEVD_*, CRAM_AGENT_*, CRAMCTL_*) are not
    handed down: what runs is what the caller wrote.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        argv: Sequence[str],
        *,
        ready_file: bool = True,
        stop_deadline_s: float = STOP_DEADLINE_S,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log_path = folder / f"{name}.log"
        self.ready_path = folder / f"{name}.ready.json" if ready_file else None
        self.facts: dict[str, Any] = {}
        """What the process wrote into its ready file."""
        self._argv = tuple(argv)
        self._stop_deadline_s = stop_deadline_s
        self._process: subprocess.Popen[bytes] | None = None

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start it, without waiting until it serves.

        Raises:
            ProcessError: it runs already, or the command does not exist.
        """
        if self.running:
            raise ProcessError(f"{self.name} runs already, as process {self.pid}")
        self.facts = {}
        argv = list(self._command())
        if self.ready_path is not None:
            self.ready_path.unlink(missing_ok=True)
            argv += ["--ready-file", str(self.ready_path)]
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(_SETTINGS_OF_OURS)
        }
        environment["PYTHONUNBUFFERED"] = "1"
        with self.log_path.open("ab") as log:
            log.write(f"$ {' '.join(argv)}\n".encode())
            log.flush()
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessError(f"cannot start {self.name}: {error}") from error
        return self

    def wait_ready(self, deadline_s: float = START_DEADLINE_S) -> dict[str, Any]:
        """Wait until its ready file is there, and return what it says.

        Raises:
            ProcessError: it ended first, or the deadline passed.
        """
        assert self.ready_path is not None, f"{self.name} was started without a ready file"
        end = time.monotonic() + deadline_s
        while not self.ready_path.exists():
            code = self._wait(_POLL_S)
            if code is not None:
                raise ProcessError(f"{self.name} ended with {code} before it served{self.log_tail()}")
            if time.monotonic() > end:
                raise ProcessError(f"{self.name} did not serve within {deadline_s:g} s{self.log_tail()}")
        self.facts = json.loads(self.ready_path.read_text())
        return self.facts

    def wait(self, deadline_s: float) -> int:
        """Wait until it ends by itself, and return its exit code (negative: the signal that ended it).

        Raises:
            ProcessError: it still runs when the deadline passes. It is left running.
        """
        code = self._wait(deadline_s)
        if code is None:
            raise ProcessError(f"{self.name} still runs after {deadline_s:g} s{self.log_tail()}")
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone. Nothing happens if it has ended."""
        if self._process is not None:
            self._process.send_signal(number)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting. Nothing happens if it has ended."""
        self.signal(signal.SIGTERM)

    def terminate(self, deadline_s: float | None = None) -> int:
        """SIGTERM, and wait; return its exit code. The same if it has ended already.

        Raises:
            ProcessError: it had to be killed, because the deadline passed.
        """
        deadline_s = self._stop_deadline_s if deadline_s is None else deadline_s
        self.ask_to_end()
        try:
            return self.wait(deadline_s)
        except ProcessError:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL to the process and to whatever it started: power off, no goodbye."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        if self.ready_path is not None:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.running:
                self.terminate()
        finally:
            self.kill()

    # -- what it is -------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Process id of the latest start.

        Raises:
            ProcessError: it was never started.
        """
        if self._process is None:
            raise ProcessError(f"{self.name} was never started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def serves(self) -> bool:
        """Whether it runs, and has said in its ready file where it serves."""
        return self.running and self.ready_path is not None and self.ready_path.exists()

    @property
    def returncode(self) -> int | None:
        """Its exit code; None while it runs, and before it was started."""
        return None if self._process is None else self._process.poll()

    def log_text(self, start: int = 0) -> str:
        """All that it printed, each start headed by its command line. `start`: bytes to leave out."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[start:].decode(errors="replace")

    def log_tail(self) -> str:
        """The end of its log and where the whole is, as lines for an error message."""
        lines = self.log_text().splitlines()[-_LOG_TAIL_LINES:]
        return "".join(f"\n  | {line}" for line in lines) + f"\n  ({self.log_path})"

    # -- inside -----------------------------------------------------------------------------------

    def _command(self) -> Sequence[str]:
        """What to run; asked at each start, so that a restart can differ."""
        return self._argv

    def _wait(self, deadline_s: float) -> int | None:
        assert self._process is not None, f"{self.name} was never started"
        try:
            return self._process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            return None

    def _fact(self, key: str) -> str:
        if key not in self.facts:
            self.wait_ready()
        try:
            return str(self.facts[key])
        except KeyError:
            raise ProcessError(f"the ready file of {self.name} has no {key!r}: {self.facts}") from None


class DeviceProcess(ManagedProcess):
    """A `cxldevd` on three ports that the system chose.

    Args:
        folder, name: see `ManagedProcess`.
        physical: media that exists, as `cxldevd --physical` takes it.
        args: further options of `cxldevd`.
    """

    def __init__(
        self, folder: Path, *, physical: str = "64MiB", args: Sequence[str] = (), name: str = "cxldevd"
    ) -> None:
        super().__init__(folder, name, ())
        self._options = ("--physical", physical, *args)
        self._addresses = ("127.0.0.1:0",) * 3

    @property
    def address(self) -> str:
        """Where hosts attach."""
        return self._fact("address")

    @property
    def operator_address(self) -> str:
        """Where faults and the oracle are."""
        return self._fact("operator_address")

    @property
    def metrics_address(self) -> str:
        """Where Prometheus scrapes: `http://{metrics_address}/metrics`."""
        return self._fact("metrics_address")

    def wait_ready(self, deadline_s: float = START_DEADLINE_S) -> dict[str, Any]:
        """As `ManagedProcess.wait_ready`; the ports are kept for `restart`."""
        facts = super().wait_ready(deadline_s)
        self._addresses = (self.address, self.operator_address, self.metrics_address)
        return facts

    def restart(self, deadline_s: float = START_DEADLINE_S) -> None:
        """Kill it if it runs, and start it on the same ports: power lost and back.

        Raises:
            ProcessError: it does not serve before the deadline.
        """
        self.kill()
        self.start()
        self.wait_ready(deadline_s)

    def _command(self) -> Sequence[str]:
        listen, operator, metrics = self._addresses
        ports = ("--listen", listen, "--operator", operator, "--metrics", metrics)
        return (script("cxldevd"), *ports, *self._options)


class AgentProcess(ManagedProcess):
    """A `cram-agent run` that shadows one source.

    Args:
        folder: see `ManagedProcess`.
        device: address of the device, `DeviceProcess.address`.
        source: `synthetic`, `pid:N`, `core:FILE` or `file:PATH`.
        host: the name it attaches with, and the name of its files.
        args: further options of `cram-agent run`.
    """

    def __init__(
        self, folder: Path, device: str, source: str, *, host: str = "host-a", args: Sequence[str] = ()
    ) -> None:
        self.host = host
        self.report_path = folder / f"{host}.report.json"
        argv = [script("cram-agent"), "run", "--device", device, "--host", host, "--source", source]
        argv += ["--metrics", "127.0.0.1:0", "--json", str(self.report_path), *args]
        super().__init__(folder, host, argv)

    @property
    def metrics_address(self) -> str:
        """Where Prometheus scrapes: `http://{metrics_address}/metrics`."""
        return self._fact("metrics_address")

    def report(self) -> dict[str, Any]:
        """What it wrote with `--json`, once it has ended.

        Raises:
            ProcessError: there is no report, or it cannot be read.
        """
        try:
            report: dict[str, Any] = json.loads(self.report_path.read_text())
        except (OSError, ValueError) as error:
            raise ProcessError(f"{self.host} left no report: {error}{self.log_tail()}") from error
        return report


class ProgramProcess(ManagedProcess):
    """One of `cramlab.programs`: a real program whose memory an agent shadows.

    Args:
        folder: see `ManagedProcess`.
        program: name of its module.
        args: its options.
        name: of its files; the program's, if none is given.
    """

    def __init__(self, folder: Path, program: str, *, args: Sequence[str] = (), name: str = "") -> None:
        super().__init__(
            folder, name or program, [sys.executable, "-m", f"cramlab.programs.{program}", *args]
        )


def script(name: str) -> str:
    """Path of one of this distribution's commands.

    Raises:
        ProcessError: it is not installed beside this Python.
    """
    path = Path(sysconfig.get_path("scripts"), name)
    if not path.exists():
        raise ProcessError(f"{path} does not exist: install cramulator into this environment first")
    return str(path)
