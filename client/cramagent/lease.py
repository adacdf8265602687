"""The thread that keeps the lease: it renews, and each renewal is a reading of the device too."""

from __future__ import annotations

from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from cramagent.messages import LinkDown, Reading, SessionOver
from cramagent.node_client import NodeRefused, NodeSilent

if TYPE_CHECKING:
    from queue import SimpleQueue

    from cramagent.messages import Message
    from cramagent.node_client import NodeClient, Session

_READING_S: Final = 1.0
"""A reading at least this often, however long the lease is."""
_SILENT_S: Final = 0.2
"""While the device does not answer, it is asked this often."""


class LeaseKeeper:
    """Renews one session until it is over or `stop` is called.

    A renewal that is not answered is a `LinkDown`; the next one that is answered brings a `Reading`,
    by which the main loop knows that the link is up again. A renewal that is refused is the end:
    `SessionOver`, and the thread stops.
    """

    def __init__(self, client: NodeClient, session: Session, inbox: SimpleQueue[Message]) -> None:
        self._client = client
        self._session = session
        self._inbox = inbox
        self._stopped = Event()
        self._interval_s = min(session.lease_ns / 1e9 / 3, _READING_S)
        self._thread = Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Renew no more. A call under way may still be answered; nobody hears it."""
        self._stopped.set()

    def _keep(self) -> None:
        wait = self._interval_s
        name = self._session.session
        while not self._stopped.wait(wait):
            try:
                telemetry = self._client.renew(self._session, timeout_s=max(self._interval_s, _SILENT_S))
            except (NodeSilent, NodeRefused) as error:
                if isinstance(error, NodeRefused) and error.session_over:
                    self._inbox.put(SessionOver(name, error.refusal.reason))
                    return
                # Any other refusal of a renewal is no answer to it, either.
                self._inbox.put(LinkDown(name))
                wait = min(_SILENT_S, self._interval_s)
            except ValueError:
                # grpc says so of a call on a closed channel: the run is over.
                return
            else:
                self._inbox.put(Reading(name, telemetry))
                wait = self._interval_s
