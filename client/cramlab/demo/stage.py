"""The processes of the demo: one device, and for each program an agent that shadows it."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from cramctl.operator import Operator
from cramlab.demo.readings import Reading, read_device, scrape_host
from cramlab.processes import AgentProcess, DeviceProcess, ManagedProcess, ProcessError, ProgramProcess

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

_GOODBYE_S: Final = 10.0
"""How long agents may take to say goodbye when the demo ends early."""


@dataclass(frozen=True, slots=True)
class Cast:
    """One program and the host that shadows it."""

    host: str
    program: str


CAST: Final = (
    Cast("sqlite", "sqlite_store"),
    Cast("json", "json_documents"),
    Cast("numeric", "numeric_arrays"),
)

DEVICE_OPTIONS: Final = (
    # No level warns of the end: hosts go on until they are refused. With the default watermarks they
    # would have closed their nodes before, which is what watermarks are for.
    *("--watermark-critical", "0"),
)
PHYSICAL: Final = "64MiB"
"""Sold as 192 MiB; three hosts ask for 56 MiB each."""

AGENT_OPTIONS: Final = (
    *("--dram", "14MiB"),
    *("--node", "56MiB"),
    *("--zswap", "4MiB"),
    *("--swap", "128MiB"),
    *("--budget", "256"),
    # Half of what the programs give back is found by the reaper only.
    *("--unnoticed", "0.5"),
    # Only a refused write, or no media at all, closes the node; see DEVICE_OPTIONS.
    *("--close-pressure", "1000"),
    # A store that the device cannot take is applied in DRAM: the shadowed program must go on.
    *("--on-bus-error", "rescue"),
)


class Stage:
    """All processes, started in order, and stopped in the opposite order whatever happens.

    Args:
        folder: for logs, ready files and reports.
        seed: of the programs and of the agents' patterns.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.device = DeviceProcess(folder, physical=PHYSICAL, args=DEVICE_OPTIONS)
        self.programs: dict[str, ProgramProcess] = {
            cast.host: ProgramProcess(folder, cast.program, args=("--seed", str(seed))) for cast in CAST
        }
        self.agents: dict[str, AgentProcess] = {}
        self._folder = folder
        self._seed = seed
        self._stack = ExitStack()
        self._operator: Operator | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.device)
            self._operator = stack.enter_context(Operator(self.device.operator_address))
            for program in self.programs.values():
                program.start()
                stack.callback(program.kill)
            # Three interpreters start at one time; then they are waited for one by one.
            for program in self.programs.values():
                program.wait_ready()
            for host, program in self.programs.items():
                agent = AgentProcess(
                    self._folder,
                    self.device.address,
                    f"pid:{program.pid}",
                    host=host,
                    args=(*AGENT_OPTIONS, "--swap-dir", str(self._folder), "--seed", str(self._seed)),
                )
                self.agents[host] = agent.start()
                stack.callback(agent.kill)
            for agent in self.agents.values():
                agent.wait_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        # Agents first: they detach. Whoever does not end in time is killed by the stack's callbacks.
        try:
            for processes in (self.agents.values(), self.programs.values()):
                for process in processes:
                    process.ask_to_end()
                for process in processes:
                    with suppress(ProcessError):
                        process.wait(_GOODBYE_S)
        finally:
            self._stack.close()

    @property
    def operator(self) -> Operator:
        """The operator's side of the device."""
        assert self._operator is not None, "the stage was not entered"
        return self._operator

    def read(self) -> Reading:
        """Ask everybody.

        Raises:
            ProcessError: somebody who should run has ended, or does not answer.
            OperatorError: the device does not answer.
        """
        for process in (self.device, *self.programs.values(), *self.agents.values()):
            _must_run(process)
        hosts = {host: scrape_host(agent.metrics_address) for host, agent in self.agents.items()}
        return Reading(read_device(self.operator.status()), hosts)

    def verify(self, deadline_s: float) -> dict[str, dict[str, Any]]:
        """SIGTERM to all agents: each compares all its pages, detaches, and reports. Their reports.

        Raises:
            ProcessError: one did not end in time, or left no report.
        """
        end = time.monotonic() + deadline_s
        for agent in self.agents.values():
            agent.ask_to_end()
        for agent in self.agents.values():
            agent.wait(max(0.0, end - time.monotonic()))
        return {host: agent.report() for host, agent in self.agents.items()}

    def reports(self) -> dict[str, dict[str, Any]]:
        """The reports of all agents that have left one."""
        found = {}
        for host, agent in self.agents.items():
            with suppress(ProcessError):
                found[host] = agent.report()
        return found

    def stop_programs(self) -> None:
        """End the programs.

        Raises:
            ProcessError: one did not end in time.
        """
        for program in self.programs.values():
            program.ask_to_end()
        for program in self.programs.values():
            program.terminate()


def _must_run(process: ManagedProcess) -> None:
    if not process.running:
        raise ProcessError(f"{process.name} ended with {process.returncode}{process.log_tail()}")
