"""One host of a live run: its agent, the program behind it, and how far it has come."""

from __future__ import annotations

import json
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from cramlab.processes import AgentProcess, ProcessError, ProgramProcess
from cramlab.scrape import read_families

if TYPE_CHECKING:
    from pathlib import Path

    from prometheus_client import Metric

    from cramlab.scenario.model import HostSpec

_SIGNALS: Final = ("sigterm", "sigint")
"""Reasons of an end that was asked for."""


class LiveHost:
    """Started and ended by the timeline, perhaps more than once; each life has files of its own.

    Args:
        spec: what the scenario says.
        folder: for logs, reports and events.
        device: address of the device.
    """

    def __init__(self, spec: HostSpec, folder: Path, device: str) -> None:
        self.spec = spec
        self.name = spec.name
        self.ending = False
        """Whether it was asked to end."""
        self._folder = folder
        self._device = device
        self._lives = 0
        self._agent: AgentProcess | None = None
        self._program: ProgramProcess | None = None

    # -- its life ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, without waiting until it is attached.

        Raises:
            ProcessError: a command does not exist, or the program does not serve.
        """
        self._lives += 1
        self.ending = False
        folder = self._folder / f"life-{self._lives}"
        source = str(self.spec.given["source"])
        if self.spec.program is not None:
            seed = str(self.spec.options["seed"])
            self._program = ProgramProcess(
                folder, self.spec.program, args=("--seed", seed), name=f"{self.name}.program"
            )
            self._program.start().wait_ready()
            source = f"pid:{self._program.pid}"
        args = ["--events", str(folder / f"{self.name}.events.jsonl"), "--swap-dir", str(folder)]
        for name, value in self.spec.given.items():
            if name != "source":
                args += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self._agent = AgentProcess(folder, self._device, source, host=self.name, args=args)
        self._agent.start()

    def ask_to_end(self) -> None:
        """It verifies all its pages, detaches and reports. One that starts just now does so once it can."""
        self.ending = True
        if self._agent is not None:
            # Before it serves, SIGTERM would find a Python that loads modules, and nobody to say goodbye.
            with suppress(ProcessError):
                self._agent.wait_ready()
            self._agent.ask_to_end()

    def pause(self, *, stand_still: bool) -> None:
        """Its programs stand still, or go on. One that starts just now does so once it can."""
        if self._agent is not None:
            with suppress(ProcessError):
                self._agent.wait_ready()
                self._agent.signal(signal.SIGUSR1 if stand_still else signal.SIGUSR2)

    def kill(self) -> None:
        """Gone without a word, and its program with it."""
        for process in (self._agent, self._program):
            if process is not None:
                process.kill()
        self._agent = self._program = None

    def forget(self) -> None:
        """It has ended and was told of; its program ends, too."""
        if self._program is not None:
            self._program.kill()
        self._agent = self._program = None

    # -- what it does -----------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """It was started, and its end was not told of yet."""
        return self._agent is not None

    @property
    def running(self) -> bool:
        """Its process is there."""
        return self._agent is not None and self._agent.running

    @property
    def attached(self) -> bool:
        """It has a region and shows its metrics."""
        return self.running and self._the_agent.serves

    def metrics(self) -> list[Metric]:
        """What it shows now.

        Raises:
            ProcessError: it shows nothing.
        """
        return read_families(self._the_agent.metrics_address)

    def last_metrics(self) -> list[Metric]:
        """What it had counted when it ended, the final verification included.

        Raises:
            ProcessError: it left no report.
        """
        lines = [f"{series} {value}" for series, value in self._the_agent.report()["metrics"].items()]
        return list(text_string_to_metric_families("\n".join(lines) + "\n"))

    def ended_by(self) -> str:
        """Why it ended: the reason of its report, or the exit code of a process that left none."""
        with suppress(ProcessError):
            return str(self._the_agent.report()["exit_reason"])
        return f"exit_code_{self._the_agent.returncode}"

    @property
    def ended_in_order(self) -> bool:
        """It was asked to, did, and found every byte right or told what was wrong."""
        return self.ending and self.ended_by() in _SIGNALS

    def log_tail(self) -> str:
        """The end of its log."""
        return self._the_agent.log_tail()

    def events(self) -> list[tuple[int, str]]:
        """(wall time in ns since the epoch, event) of all its lives."""
        found = []
        for path in sorted(self._folder.glob(f"life-*/{self.name}.events.jsonl")):
            # A killed agent may leave half a line.
            for line in path.read_text().splitlines():
                with suppress(ValueError):
                    told = json.loads(line)
                    found.append((told["wall_time_ns"], told["event"]))
        return found

    @property
    def _the_agent(self) -> AgentProcess:
        assert self._agent is not None, f"{self.name} was never started"
        return self._agent
