"""A host under test: a `cram-agent` process, and what a test wants to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from cramlab.processes import AgentProcess, ProcessError
from cramlab.pytest_plugin.settings import arguments
from cramlab.pytest_plugin.waiting import wait_until
from cramlab.scrape import scrape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cramlab.scrape import Samples

DEADLINE_S: Final = 30.0


class CxlAgent:
    """One host. Unless the test says otherwise it shadows a seeded synthetic source until it is stopped."""

    def __init__(self, folder: Path, device: str, settings: Mapping[str, object]) -> None:
        """`settings`: options of `cram-agent run`, without their dashes. It is not started yet."""
        options = {"swap-dir": folder, **settings}
        source, host = str(options.pop("source", "synthetic")), str(options.pop("host", "host-a"))
        self.process = AgentProcess(folder, device, source, host=host, args=arguments(options))
        self._killed = False

    def __repr__(self) -> str:
        return f"<CxlAgent {self.host}>"

    @property
    def host(self) -> str:
        """The name that it attached with."""
        return self.process.host

    @property
    def metrics_address(self) -> str:
        """Where Prometheus scrapes: `http://{metrics_address}/metrics`."""
        return self.process.metrics_address

    def metrics(self) -> Samples:
        """Its metrics now: `metrics().total("cram_demotions_total", {"outcome": "ok"})`."""
        return scrape(self.metrics_address)

    def wait_for(self, holds: Callable[[Samples], object], deadline_s: float = DEADLINE_S) -> Samples:
        """Wait until its metrics meet a condition.

        Raises:
            NeverCame: they did not in time.
            ProcessError: it has ended.
        """
        return wait_until(self.metrics, holds, deadline_s)

    def stop(self, deadline_s: float = DEADLINE_S, *, check: bool = True) -> dict[str, Any]:
        """Let it end in order: it verifies every page, gives its region back, and reports. The report.

        Args:
            deadline_s: for the verification, too.
            check: fail the test if a byte was wrong, or could not be read.

        Raises:
            ProcessError: it did not end in time, or left no report.
        """
        code = self.process.terminate(deadline_s)
        report = self.process.report()
        if check and code:
            self._fail(code)
        self._killed = True  # its end has been seen
        return report

    def wait(self, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Wait until it ends by itself (give it `duration` or `accesses`). The report; else as `stop`."""
        self.process.wait(deadline_s)
        return self.stop(deadline_s)

    def kill(self) -> None:
        """A host that is gone without a word: its lease runs out some time later."""
        self._killed = True
        self.process.kill()

    def close(self) -> None:
        """End it, and fail the test if it found a wrong byte, or ended by itself with an error."""
        try:
            code = 0 if self._killed else self.process.terminate()
        except ProcessError as error:
            pytest.fail(str(error), pytrace=False)
        finally:
            self.process.kill()
        if code:
            self._fail(code)

    def _fail(self, code: int) -> None:
        self._killed = True  # told once
        pytest.fail(f"{self.host} ended with {code}{self.process.log_tail()}", pytrace=False)
