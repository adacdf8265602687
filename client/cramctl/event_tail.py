"""The newest events of a device, gathered on a thread while something else is on the screen."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from cramctl.events import Follower
from cramctl.operator import OperatorError

if TYPE_CHECKING:
    from typing import Self

    from cramctl.operator import Operator

_KEPT: Final = 100
_END_S: Final = 2.0


class EventTail:
    """Follows over restarts of the device, while it is entered.

    Args:
        operator: a connection of its own; it is closed in the end, which is how the thread is ended.
    """

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._events: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._lock = threading.Lock()
        self._ended = False
        self._problem = ""
        self._thread = threading.Thread(target=self._follow, name="cramctl-events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._operator.close()
        self._thread.join(_END_S)

    def newest(self) -> list[dict[str, Any]]:
        """Those that are kept, the newest last."""
        with self._lock:
            return list(self._events)

    @property
    def problem(self) -> str:
        """Why no more events come, in one line; empty while they do, or while the device is sought."""
        return self._problem

    def _follow(self) -> None:
        try:
            for event in Follower(self._operator, 0).follow(lambda _: None):
                with self._lock:
                    self._events.append(event)
        except OperatorError as error:
            self._problem = str(error)
        except ValueError:
            # What grpc says of a channel that is closed: the end, if it was us.
            if not self._ended:
                raise
