"""The thread that keeps the lease: it renews, and each renewal is a reading of the device too."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from cramagent.clock import SYSTEM_CLOCK
from cramagent.messages import ControlSilent, LinkDown, Reading, SessionOver
from cramagent.refusals import NodeRefused, NodeSilent

if TYPE_CHECKING:
    from cramagent.clock import Clock, Inbox
    from cramagent.messages import Message
    from cramagent.node_client import NodeClient, Session

_READING_S: Final = 1.0
"""A reading at least this often, however long the lease is."""
_SILENT_S: Final = 0.2
"""While the device does not answer, it is asked this often."""


class LeaseKeeper:
    """Renews one session until it is over or `stop` is called; takes a reading between when asked to.

    A device that answers neither a renewal nor a probe of its data path is a `LinkDown`; the next answer
    brings a `Reading`, by which the main loop knows that the link is up again. Where the data path alone
    answers, it is a `ControlSilent`: loads and stores go on, by what was last known. A renewal
    that is refused is the end: `SessionOver`, and the thread stops.
    """

    def __init__(
        self, client: NodeClient, session: Session, inbox: Inbox[Message], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client = client
        self._session = session
        self._inbox = inbox
        self._clock = clock
        self._stopped = False
        self._shrink_to: int | None = None
        self._asked = clock.flag()
        self._interval_s = min(session.lease_ns / 1e9 / 3, _READING_S)
        self._task = clock.start("lease", self._keep)

    def stop(self) -> None:
        """Renew no more. A call under way may still be answered; nobody hears it."""
        self._stopped = True
        self._asked.set()

    def ask(self) -> None:
        """Take a reading now. Never waits; asked often, it may take one for all."""
        self._asked.set()

    def shrink(self, logical_bytes: int) -> None:
        """Shrink the region to so much; never waits. If that is refused, the policy asks again."""
        self._shrink_to = logical_bytes
        self._asked.set()

    def _keep(self) -> None:
        name = self._session.session
        due = self._now_s() + self._interval_s
        while True:
            asked = self._asked.wait(max(0.0, due - self._now_s()))
            if self._stopped:
                return
            self._asked.clear()
            timeout_s = max(self._interval_s, _SILENT_S)
            shrink_to, self._shrink_to = self._shrink_to, None
            ask = self._client.telemetry if asked and self._now_s() < due else self._client.renew
            if shrink_to is not None:
                ask = partial(self._client.resize, logical_bytes=shrink_to)
            try:
                telemetry = ask(self._session, wait_s=timeout_s)
            except NodeSilent:
                self._inbox.put(ControlSilent(name) if self._data_answers(timeout_s) else LinkDown(name))
                due = self._now_s() + min(_SILENT_S, self._interval_s)
            except NodeRefused as refused:
                if refused.session_over:
                    self._inbox.put(SessionOver(name, refused.refusal.reason))
                    return
                if shrink_to is not None:
                    continue
                # Any other refusal of a renewal is no answer to it, either.
                self._inbox.put(LinkDown(name))
                due = self._now_s() + min(_SILENT_S, self._interval_s)
            except ValueError:
                # grpc says so of a call on a closed channel: the run is over.
                return
            else:
                self._inbox.put(Reading(name, telemetry))
                if ask == self._client.renew:
                    due = self._now_s() + self._interval_s

    def _now_s(self) -> float:
        return self._clock.now_ns() / 1e9

    def _data_answers(self, timeout_s: float) -> bool:
        try:
            return self._client.data_answers(self._session, timeout_s=timeout_s)
        except ValueError:  # the channel was closed meanwhile
            return False
