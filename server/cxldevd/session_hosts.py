"""Whose session it is. The device is asked once; the answer never changes: no session is given out twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cxldev.outcomes import SessionRef
    from cxldevd.runtime import Runtime

_REMEMBERED: Final = 4096
"""Sessions."""


class SessionHosts:
    """Names of hosts by their sessions. Any thread may ask."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._known: dict[SessionRef, str] = {}

    def name(self, ref: SessionRef) -> str:
        """Name of the host that a session was given to; it may have ended since.

        Raises:
            DeviceError: it is none, or had ended when it was first asked for.
        """
        known = self._known.get(ref)
        if known is None:
            with self._runtime.device() as (device, now_ns):
                known = device.host_of(ref, now_ns)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[ref] = known
        return known
