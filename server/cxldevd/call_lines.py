"""Log lines about single calls: refused, failed, lost, slow. Each with the id that its caller gave it.

A host that is refused at full speed would fill a disk: `log_often` holds back what is more than a few.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cxldev.errors import DeviceError
from cxldev.outcomes import SessionRef
from cxldevd.log import log_often

if TYPE_CHECKING:
    from cxldev.errors import CommandLost
    from cxldevd.runtime import Runtime

SLOW_NS: Final = 1_000_000_000
"""Wall time from which on a call is told of as slow."""
_SESSION_CHARS: Final = 8
"""Who knows a whole session may use its region; so much of it tells sessions apart."""


class CallLines:
    """What is written of calls. `request`: the message, or the session of a lane; None: there is neither."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def refused(self, operation: str, reason: str, message: str, request_id: str, request: Any) -> None:
        """The device said no. What a service that ends turns away goes without saying."""
        log_often(
            "call_refused",
            operation,
            reason,
            level=logging.DEBUG if self._runtime.draining else logging.INFO,
            facts=lambda: {
                **self._of(operation, request_id, request),
                "reason": reason,
                "message": message,
            },
        )

    def failed(self, operation: str, error: Exception, request_id: str, request: Any) -> None:
        """A bug: answered INTERNAL, with the traceback here."""
        log_often(
            "call_failed",
            operation,
            level=logging.ERROR,
            error=error,
            facts=lambda: self._of(operation, request_id, request),
        )

    def lost(self, operation: str, lost: CommandLost, request_id: str, request: Any) -> None:
        """An armed fault keeps the answer back."""
        log_often(
            "answer_lost",
            operation,
            facts=lambda: {**self._of(operation, request_id, request), "fault_id": lost.fault_id},
        )

    def slow(self, operation: str, wall_ns: int, request_id: str, request: Any) -> None:
        """It took longer than anybody expects."""
        log_often(
            "call_slow",
            operation,
            level=logging.WARNING,
            facts=lambda: {
                **self._of(operation, request_id, request),
                "seconds": round(wall_ns / 1e9, 3),
            },
        )

    def _of(self, operation: str, request_id: str, request: Any) -> dict[str, Any]:
        facts = {"operation": operation}
        if request_id:
            facts["request"] = request_id
        session, generation = getattr(request, "session", ""), getattr(request, "generation", "")
        host = getattr(request, "host", "") or self._host_of(session, generation)
        if host:
            facts["host"] = host
        if generation:
            facts["generation"] = generation
        if session:
            facts["session"] = session[:_SESSION_CHARS]
        return facts

    def _host_of(self, session: str, generation: str) -> str:
        if not session:
            return ""
        try:
            with self._runtime.device() as (device, _):
                return device.holder(SessionRef(session, generation))
        except DeviceError:
            return ""
