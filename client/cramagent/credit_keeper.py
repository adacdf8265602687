"""The thread that asks the device for write credits, so that the main loop never waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cramagent.clock import SYSTEM_CLOCK
from cramagent.messages import CreditsGranted, CreditsUnanswered
from cramagent.refusals import NodeRefused, NodeSilent
from cramwire.v1 import device_pb2

if TYPE_CHECKING:
    from cramagent.clock import Clock, Inbox
    from cramagent.messages import Message
    from cramagent.node_client import NodeClient, Session
    from cramagent.policy.credits import CreditRequest

_WAIT_S: Final = 1.0
"""A control path that does not answer for so long is stalled: the request is given up."""


class CreditKeeper:
    """Sends what the policy asks for, one request at a time, and puts what came of it into the inbox.

    It begins with the first request. A session that is over is for the lease keeper to notice.
    """

    def __init__(
        self, client: NodeClient, session: Session, inbox: Inbox[Message], clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._client = client
        self._session = session
        self._inbox = inbox
        self._stopped = False
        self._request: CreditRequest | None = None
        self._asked = clock.flag()
        clock.start("credits", self._keep)

    def ask(self, request: CreditRequest) -> None:
        """Send this; never waits. The one before was answered, or given up."""
        self._request = request
        self._asked.set()

    def stop(self) -> None:
        """Ask no more. A call under way may still be answered; nobody hears it."""
        self._stopped = True
        self._asked.set()

    def _keep(self) -> None:
        name = self._session.session
        while True:
            self._asked.wait()
            if self._stopped:
                return
            self._asked.clear()
            request, self._request = self._request, None
            if request is None:
                continue
            try:
                said = self._client.grant_credits(self._message(request), wait_s=_WAIT_S)
            except (NodeSilent, NodeRefused):
                self._inbox.put(CreditsUnanswered(name, request.number))
            except ValueError:
                # grpc says so of a call on a closed channel: the run is over.
                return
            else:
                self._inbox.put(CreditsGranted(name, request.number, said.granted_credits, said.telemetry))

    def _message(self, request: CreditRequest) -> device_pb2.GrantCreditsRequest:
        return device_pb2.GrantCreditsRequest(
            session=self._session.session,
            generation=self._session.generation,
            number=request.number,
            writable_pages=request.writable,
            unspent_credits=request.unspent,
            wanted_credits=request.wanted,
        )
