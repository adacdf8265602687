"""The lease keeper's thread: renewals, readings between, and a control path that is silent."""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, cast

import grpc
import pytest

from agent_helpers import DEADLINE_S
from cramagent.lease import LeaseKeeper
from cramagent.messages import ControlSilent, LinkDown, Reading, SessionOver
from cramagent.node_client import Session
from cramagent.refusals import NodeRefused, NodeSilent
from cramwire.refusal import Refusal
from cramwire.v1 import types_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.messages import Message
    from cramagent.node_client import NodeClient

HOUR_NS = 3600 * 10**9
SILENT = NodeSilent(Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "nothing"))
OVER = NodeRefused(Refusal(grpc.StatusCode.FAILED_PRECONDITION, "over", "LEASE_EXPIRED"))


class ScriptedDevice:
    """A client whose renewals answer as the test says; the last answer ends the session."""

    def __init__(self, *answers: NodeSilent | NodeRefused | int, data_path: bool = True) -> None:
        self.answers = [*answers, OVER]
        self.data_path = data_path
        self.asked: list[str] = []

    def renew(self, session: Session, *, wait_s: float) -> types_pb2.Telemetry:
        """The next answer."""
        return self._next("renew")

    def telemetry(self, session: Session, *, wait_s: float) -> types_pb2.Telemetry:
        """The next answer."""
        return self._next("telemetry")

    def data_answers(self, session: Session, *, timeout_s: float) -> bool:
        """As the test says."""
        return self.data_path

    def _next(self, what: str) -> types_pb2.Telemetry:
        self.asked.append(what)
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            return types_pb2.Telemetry(event_sequence=answer)
        raise answer


def told(
    device: ScriptedDevice, count: int, then: Callable[[LeaseKeeper], None] | None = None
) -> list[Message]:
    """The first messages of a keeper of a short lease, or of one that is asked by `then`."""
    inbox: SimpleQueue[Message] = SimpleQueue()
    session = Session("mine", "now", HOUR_NS if then else 30_000_000)
    keeper = LeaseKeeper(cast("NodeClient", device), session, inbox)
    if then:
        then(keeper)
    messages = [inbox.get(timeout=DEADLINE_S) for _ in range(count)]
    keeper.stop()
    keeper._task.join(DEADLINE_S)
    assert not keeper._task.is_alive()
    return messages


def test_renewals_are_readings_until_the_session_is_over() -> None:
    """Each answered one; a refusal is the end."""
    device = ScriptedDevice(1, 2)
    assert told(device, 3) == [
        Reading("mine", types_pb2.Telemetry(event_sequence=1)),
        Reading("mine", types_pb2.Telemetry(event_sequence=2)),
        SessionOver("mine", "LEASE_EXPIRED"),
    ]
    assert device.asked == ["renew"] * 3


@pytest.mark.parametrize(("data_path", "means"), [(True, ControlSilent), (False, LinkDown)])
def test_a_silent_control_path_is_no_dead_device(
    data_path: bool, means: type[ControlSilent | LinkDown]
) -> None:
    """Unless the data path says nothing either."""
    messages = told(ScriptedDevice(SILENT, 3, data_path=data_path), 2)
    assert messages == [means("mine"), Reading("mine", types_pb2.Telemetry(event_sequence=3))]


def test_a_reading_can_be_asked_for_between() -> None:
    """It comes at once, long before the lease needs to be renewed."""
    device = ScriptedDevice(5)
    messages = told(device, 1, LeaseKeeper.ask)
    assert messages == [Reading("mine", types_pb2.Telemetry(event_sequence=5))]
    assert device.asked == ["telemetry"]
