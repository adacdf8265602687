"""The plan of a soak: what is drawn from a seed, and what it leaves alone."""

from __future__ import annotations

import random

import pytest

from cramlab.soak.plan import EndAgent, EndDevice, draw_plan
from cramlab.soak.troubles import TROUBLES, Trouble


def test_a_seed_is_a_plan() -> None:
    """The same seed draws the same steps, another one draws others."""
    assert draw_plan(600, 8, 7) == draw_plan(600, 8, 7)
    assert draw_plan(600, 8, 7) != draw_plan(600, 8, 8)


@pytest.mark.parametrize("seconds", [5, 60, 600])
@pytest.mark.parametrize("hosts", [1, 2, 8])
@pytest.mark.parametrize("seed", range(5))
def test_the_second_half_can_be_measured(seconds: float, hosts: int, seed: int) -> None:
    """From the middle on the device and the settled hosts live; in the last tenth nobody is hurt."""
    plan = draw_plan(seconds, hosts, seed)
    assert plan.settled
    assert [step.at_s for step in plan.steps] == sorted(step.at_s for step in plan.steps)
    for step in plan.steps:
        assert 0 < step.at_s < plan.calm_at_s
        if step.at_s >= plan.settled_at_s:
            assert not isinstance(step.action, EndDevice)
            if isinstance(step.action, EndAgent):
                assert step.action.host not in plan.settled


@pytest.mark.parametrize("seed", range(5))
def test_ten_minutes_bring_everything(seed: int) -> None:
    """Both ends of the device and of a host, all hosts, every kind of fault, the worst ones several times."""
    actions = [step.action for step in draw_plan(600, 8, seed).steps]
    for kind in (EndDevice, EndAgent):
        assert {action.killed for action in actions if isinstance(action, kind)} == {True, False}
    assert len({action.host for action in actions if isinstance(action, EndAgent)}) == 8
    names = [action.name for action in actions if isinstance(action, Trouble)]
    assert names.count("exhaustion") >= 20
    assert set(names) == {make(random.Random(0), ["host-1"]).name for make in TROUBLES}


@pytest.mark.parametrize("number", range(len(TROUBLES)))
def test_every_fault_can_be_armed_and_ends_by_itself(number: int) -> None:
    """Its settings are those of `cramctl inject`, and none outlives the calm."""
    trouble = TROUBLES[number](random.Random(number), ["host-1"])
    message = trouble.message()
    assert message.WhichOneof("kind") == trouble.name.replace("-", "_")
    at_once = trouble.name in {"poison", "bit-flip", "reset"}
    assert at_once or 0 < message.scope.duration_ns < 5e9
    assert (trouble.spoils == "host-1") == (trouble.name in {"poison", "bit-flip"})
