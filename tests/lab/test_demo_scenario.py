"""The demo's course, played against a stage of figures: no process, no port, no waiting."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console

from cramlab.demo import story
from cramlab.demo.needs import PhaseNotReached
from cramlab.demo.scenario import Outcome, PromiseBroken, Scenario
from cramlab.demo.view import LineView
from cramwire.v1 import operator_pb2
from lab_helpers import GOOD_REPORT, device_reading, host_reading, reading

if TYPE_CHECKING:
    from cramlab.demo.readings import Reading
    from cramlab.demo.stage import Stage


class FakeStage:
    """A stage on which every look shows more done than the one before, until it is told otherwise."""

    def __init__(self) -> None:
        self.looks = 0
        self.faults = 0
        self.refusals = 0
        self.injected: list[operator_pb2.Fault] = []
        self.cleared = 0
        self.told_in_time = 0
        """So many times the sudden loss closes the nodes before anything is refused."""
        self.broken: dict[str, int] = {}
        self.agents: dict[str, Any] = {}
        self.programs_stopped = False

    @property
    def operator(self) -> FakeStage:
        """It is its own operator."""
        return self

    def inject(self, fault: operator_pb2.Fault) -> None:
        """Remember it; the device is refused, or the hosts were told in time."""
        self.injected.append(fault)
        self.faults += 1
        if self.told_in_time:
            self.told_in_time -= 1
        elif self.faults == 1:
            self.refusals += 1

    def clear(self) -> None:
        """All faults are gone."""
        self.cleared += 1
        self.faults = 0

    def read(self) -> Reading:
        """Everything has grown; nodes are closed while faults are armed."""
        self.looks += 1
        grown = self.looks * 1000
        host = host_reading(
            **(
                dict.fromkeys(
                    ("demotions", "read_faults", "mkwrites", "promotions", "scans", "reaped"), grown
                )
                | dict.fromkeys(("pressure_writebacks", "in_swap"), grown if self.faults else 0)
                | {"node_open": int(not self.faults), "no_more_writes": self.refusals}
                | self.broken
            )
        )
        device = device_reading(
            faults=self.faults,
            full=int(bool(self.faults and self.refusals)),
            no_more_writes=self.refusals,
            refused_pages=self.refusals,
        )
        return reading(device, a=host, b=host)

    def status(self) -> operator_pb2.GetStatusResponse:
        """An empty device."""
        return operator_pb2.GetStatusResponse()

    def verify(self, deadline_s: float) -> dict[str, dict[str, Any]]:
        """Two good reports."""
        return {"a": GOOD_REPORT, "b": GOOD_REPORT}

    def stop_programs(self) -> None:
        """Remember it."""
        self.programs_stopped = True


def play(stage: FakeStage) -> tuple[Outcome, str]:
    """Run the scenario, a poll a second of a clock that nobody waits for; the outcome and what was shown."""
    now = [0.0]
    shown = io.StringIO()
    outcome = Outcome()

    def sleep(_: float) -> None:
        now[0] += 1.0

    view = LineView(Console(file=shown, width=200), clock=lambda: now[0])
    Scenario(cast("Stage", stage), view, outcome, clock=lambda: now[0], sleep=sleep).run()
    return outcome, shown.getvalue()


def test_all_phases_in_order() -> None:
    """Two faults are injected, both are cleared, everybody is verified, the programs are stopped."""
    stage = FakeStage()
    outcome, shown = play(stage)
    assert list(outcome.phases) == [phase.key for phase in story.PHASES]
    assert [fault.exhaustion.WhichOneof("amount") for fault in stage.injected] == ["bytes", "share_milli"]
    assert stage.cleared == 1
    assert stage.programs_stopped
    assert outcome.steady is not None
    assert outcome.final is not None
    assert "drained: reached in" in shown


def test_the_sudden_loss_leaves_a_little() -> None:
    """All that is free but 64 KiB, so that hosts are not warned by the critical level."""
    stage = FakeStage()
    play(stage)
    assert stage.injected[0].exhaustion.bytes == (40 << 20) - story.LEFT_FREE_BYTES


def test_hosts_that_stopped_in_time_are_given_the_media_back() -> None:
    """The loss is tried until one of them is refused."""
    stage = FakeStage()
    stage.told_in_time = 2
    play(stage)
    assert [fault.exhaustion.WhichOneof("amount") for fault in stage.injected] == ["bytes"] * 3 + [
        "share_milli"
    ]
    assert stage.cleared == 3


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"mismatched": 1}, "found 1 pages with wrong bytes"),
        ({"pages_lost": 3}, "lost 3 pages"),
        ({"writable": 257}, "has 257 writable pages, its budget is 256"),
    ],
)
def test_a_broken_promise_ends_it_at_once(broken: dict[str, int], said: str) -> None:
    """In whatever phase it is seen."""
    stage = FakeStage()
    stage.broken = broken
    with pytest.raises(PromiseBroken, match=said):
        play(stage)


def test_a_phase_that_is_not_reached_fails_with_its_values() -> None:
    """By the clock that was handed in, at the phase's own deadline."""
    stage = FakeStage()
    stage.broken = {"read_faults": 10}
    with pytest.raises(PhaseNotReached, match=r"'steady state' .* read faults, each host .*now a 0, b 0"):
        play(stage)
