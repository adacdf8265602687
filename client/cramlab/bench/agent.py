"""A whole `cram-agent` process against a device process: how many page faults it gets done."""

from __future__ import annotations

import time
import urllib.request
from typing import TYPE_CHECKING, Final

from cramlab.bench.raw import compress_rate
from cramlab.bench.rows import PAGE_BYTES, Figure, Sample, at_least
from cramlab.bench.wire import BenchError
from cramlab.processes import AgentProcess

if TYPE_CHECKING:
    import numpy as np

    from cramlab.bench.suite import Bench

_FAULTS: Final = "cram_faults_total{"
_BEGUN: Final = "cram_source_scans_total"
_POLL_S: Final = 0.02
_DEADLINE_S: Final = 60.0
_OPTIONS: Final = (
    *("--dram", "25%", "--node", "150%", "--rate", "0", "--batch", "256"),
    *("--pattern", "scan", "--write-share", "0.5", "--interval", "1h", "--quiet"),
)


class AgentFaults:
    """An agent whose pages are the corpus, with DRAM for a quarter of them, accessing as fast as it can."""

    figures = (
        Figure("agent-faults", "faults/s", "pages/s of zstandard compressing, one thread", at_least(0.35)),
    )

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """Faults a second, from the agent's own counter; every byte that it reads is compared by itself."""
        pages = bench.folder / "corpus.raw"
        if not pages.exists():
            pages.write_bytes(bench.corpus.pages.data.cast("B"))
        host = f"host-{int(draw.integers(1 << 30))}"
        with AgentProcess(
            bench.folder, bench.device.address, f"file:{pages}", host=host, args=_OPTIONS
        ) as agent:
            until = time.monotonic() + _DEADLINE_S
            while not _counted(agent.metrics_address, _BEGUN) or not _counted(agent.metrics_address, _FAULTS):
                if time.monotonic() > until:
                    raise BenchError(f"the agent did not begin its accesses{agent.log_tail()}")
                time.sleep(_POLL_S)
            first_at, first = _tick(agent.metrics_address)
            time.sleep(bench.scale.window_s)
            last_at, last = _tick(agent.metrics_address)
            agent.terminate()
            report = agent.report()
        if report["pages_mismatched"] or report["pages_lost"] or last <= first:
            raise BenchError(f"the agent's run went wrong{agent.log_tail()}")
        raw = compress_rate(bench.corpus.pages, bench.corpus.zstd_level) * 1e6 / PAGE_BYTES
        return {"agent-faults": Sample((last - first) / (last_at - first_at), raw)}


def _tick(address: str) -> tuple[float, float]:
    """The moment at which the agent publishes new figures, and the faults counted until then."""
    before = _counted(address, _FAULTS)
    until = time.monotonic() + _DEADLINE_S
    while True:
        now = _counted(address, _FAULTS)
        if now != before:
            return time.monotonic(), now
        if time.monotonic() > until:
            raise BenchError("the agent meets no faults")
        time.sleep(_POLL_S)


def _counted(address: str, prefix: str) -> float:
    """The sum of the samples whose line begins so."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=_DEADLINE_S) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix))
