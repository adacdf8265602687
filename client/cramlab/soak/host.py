"""One host of a soak over all its lives: ended, brought back, and what it had counted."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cramlab.processes import AgentProcess, ProcessError
from cramlab.scrape import scrape
from cramlab.soak.troubles import LEASE

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scrape import Samples

PAGES: Final = 800
"""Of the program that each host runs."""
COMMON: Final = (
    *("--pages", str(PAGES)),
    *("--dram", "25%"),
    *("--interval", "500ms"),
    *("--rate", "400"),
    *("--write-share", "0.2"),
    *("--forks", "2"),
    *("--unnoticed", "0.5"),
    *("--lease", LEASE),
    # A host that was killed comes back before the device has missed it.
    "--take-over",
    *("--on-bus-error", "rescue"),
    *("--swap", "256MiB"),
)
CHARACTERS: Final = (
    ("--budget", "32", "--guaranteed", "512KiB"),
    ("--budget", "tokens", "--admission", "upper-bound"),
    ("--budget", "0", "--writeback", "swapfile"),
    ("--budget", "64", "--mapping", "resident"),
    ("--budget", "128", "--incompressible", "0.6", "--limit", "1MiB"),
    ("--budget", "16", "--frees", "0.1"),
    ("--budget", "64", "--drift-to", "0.8", "--drift-intervals", "20"),
    ("--budget", "8", "--close-pressure", "1000", "--fault-around", "8"),
)
"""What makes hosts differ: the first host has the first, and so on, and again from the first."""
COUNTED: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "pages_verified": ("cram_verified_pages_total", {}),
    "pages_mismatched": ("cram_mismatched_pages_total", {}),
    "pages_lost": ("cram_pages_lost_total", {}),
    "demotions": ("cram_demotions_total", {"outcome": "ok"}),
    "reattaches": ("cram_reattaches_total", {}),
}
"""Keys in a report, and the metrics with the same sums: those are taken just before a host is killed."""


def counted_in(samples: Samples) -> Counter[str]:
    """What a life that leaves no report had counted, by the keys of one."""
    return Counter(
        {
            key: round(samples.total(metric, labels))
            for key, (metric, labels) in COUNTED.items()
            if metric in samples
        }
    )


class SoakHost:
    """Its processes one after the other, each life in a folder of its own.

    Args:
        folder: for its logs, reports and swap files.
        number: 1 for the first host.
        name: what it attaches as.
        device: address of the device.
        seed: of the soak.
    """

    def __init__(self, folder: Path, number: int, name: str, device: str, seed: int) -> None:
        self.name = name
        self.counted: Counter[str] = Counter()
        """Sums over the lives that have ended, by the keys of a report."""
        self.lost_to: Counter[str] = Counter()
        """Pages lost in lives that reported, by cause."""
        self.lives = 0
        self.failed_starts = 0
        """Lives that ended before they served: the device was not there, or did not answer."""
        self.ending = False
        """Whether it was asked to end."""
        self._folder = folder
        self._device = device
        self._seed = seed + number
        self._character = CHARACTERS[(number - 1) % len(CHARACTERS)]
        self._agent: AgentProcess | None = None

    # -- its lives --------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life, without waiting until it is attached.

        Raises:
            ProcessError: the command does not exist.
        """
        self.lives += 1
        self.ending = False
        folder = self._folder / f"life-{self.lives}"
        folder.mkdir(parents=True)
        args = (*COMMON, *self._character, "--swap-dir", str(folder), "--seed", str(self._seed))
        self._agent = AgentProcess(folder, self._device, "synthetic", host=self.name, args=args).start()

    def kill(self) -> None:
        """No goodbye. What it had counted is asked for just before."""
        if self._agent is None:
            return
        if self._agent.serves:
            with suppress(ProcessError):
                self._agent.wait_ready()
                samples = scrape(self._agent.metrics_address)
                self.counted += counted_in(samples)
        self._agent.kill()
        self._agent = None

    def ask_to_end(self) -> None:
        """It verifies all its pages, detaches and reports."""
        self.ending = True
        if self._agent is not None:
            self._agent.ask_to_end()

    def take_end(self) -> dict[str, Any] | None:
        """What the life that is over reported; None of one that never served.

        Raises:
            ProcessError: it served, and left no report.
        """
        agent = self._living()
        self._agent = None
        if agent.ready_path is not None and not agent.ready_path.exists():
            self.failed_starts += 1
            return None
        report = agent.report()
        for key in COUNTED:
            self.counted[key] += report[key]
        for run in report["lost"]:
            self.lost_to[run["cause"]] += run["pages"]
        return report

    # -- how it stands ----------------------------------------------------------------------------

    @property
    def known(self) -> bool:
        """It was started, and its end was not taken yet."""
        return self._agent is not None

    @property
    def running(self) -> bool:
        """Its process is there."""
        return self._agent is not None and self._agent.running

    @property
    def serves(self) -> bool:
        """It has attached."""
        return self._agent is not None and self._agent.serves

    @property
    def pid(self) -> int:
        """Of its process now."""
        return self._living().pid

    def log_tail(self) -> str:
        """The end of its log."""
        return self._living().log_tail()

    def _living(self) -> AgentProcess:
        assert self._agent is not None, f"{self.name} was never started"
        return self._agent
