"""Several agents at one time, each a process with a region of its own, against one of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramlab.bench.rows import Figure, Sample, at_least, megabytes_per_second
from cramlab.bench.worker import Worker, together

if TYPE_CHECKING:
    import numpy as np

    from cramlab.bench.suite import Bench

AGENTS: Final = 8
_PAGES: Final = 2048
"""Of each agent's region."""


class Agents:
    """The eight, started when they are asked for first, on a device of their own."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []

    def __call__(self, bench: Bench) -> list[Worker]:
        """All of them, their regions filled."""
        if not self._workers:
            device = bench.stack.enter_context(bench.start_device("crowd"))
            pages = min(_PAGES, len(bench.corpus.pages))
            self._workers = [
                bench.stack.enter_context(Worker(device.address, f"agent-{number}", bench.corpus_path, pages))
                for number in range(AGENTS)
            ]
            for worker in self._workers:
                worker.wait_ready()
        return self._workers


class Crowd:
    """Eight agents write, or read, for a while; then one of them alone."""

    def __init__(self, operation: str, agents: Agents) -> None:
        self._operation = operation
        self._agents = agents
        self.figures = (
            Figure(f"agents-{AGENTS}-{operation}", "MB/s", "one agent alone", at_least(0.95)),
            Figure(f"agents-{AGENTS}-{operation}-least", "MB/s", "a fair share of the sum", at_least(0.5)),
        )

    def measure(self, bench: Bench, draw: np.random.Generator) -> dict[str, Sample]:
        """MB/s of all together, and of the one that got least."""
        workers = self._agents(bench)
        seconds = bench.scale.window_s
        one = int(draw.integers(len(workers)))
        alone = together([workers[one]], self._operation, seconds)[0]
        each = together(workers, self._operation, seconds)
        total = sum(each)

        def rate(pages: float) -> float:
            return megabytes_per_second(1, seconds) * pages

        together_name, least_name = (figure.name for figure in self.figures)
        return {
            together_name: Sample(rate(total), rate(alone)),
            least_name: Sample(rate(min(each)), rate(total / len(each))),
        }
