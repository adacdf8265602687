"""The device's events of a live run, heard as they happen."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from cramctl.events import Follower
from cramctl.operator import Operator, OperatorError
from cramlab.scenario.measurements import EVENTS, facts_of

if TYPE_CHECKING:
    from typing import Self

_LEAVE_S: Final = 10.0


class _Stopped(Exception):
    """Whoever listened has heard enough."""


class DeviceEvents:
    """A thread that follows the operator's stream from the first event on, over resets and restarts.

    Args:
        address: the operator's listener.
    """

    def __init__(self, address: str) -> None:
        self._operator = Operator(address)
        self._heard: list[dict[str, Any]] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._follow, name="device-events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._operator.close()
        self._thread.join(_LEAVE_S)

    def heard(self) -> list[tuple[int, str, dict[str, str]]]:
        """All so far: (wall time in ns since the epoch, name, facts), named as `EVENTS` are."""
        return [
            (event["wall_time_ns"], event["event"], facts_of(event))
            for event in self._heard.copy()
            if event["event"] in EVENTS
        ]

    @property
    def missed(self) -> int:
        """Events that the device had no more when they were due."""
        return sum(
            event["last_sequence"] - event["first_sequence"] + 1
            for event in self._heard.copy()
            if event["event"] == "events_missed"
        )

    def _follow(self) -> None:
        try:
            for event in Follower(self._operator, after_sequence=0).follow(self._lost):
                self._heard.append(event)
        except _Stopped:
            return
        except (OperatorError, ValueError):
            # ValueError: grpc refuses to call on a channel that was closed, which is how this ends.
            if not self._stopping:
                raise

    def _lost(self, _why: str) -> None:
        """The stream ended: because we closed it, or the device went away and will be sought again."""
        if self._stopping:
            raise _Stopped
