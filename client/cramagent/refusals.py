"""What the device's refusals mean to the host: errors of control calls, the one table of data calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from cramagent.log import log_often
from cramagent.policy.effects import NodeStatus
from cramagent.roads import NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cramwire.refusal import Refusal

GONE_REASONS: Final = frozenset({"STALE_GENERATION", "UNKNOWN_SESSION", "LEASE_EXPIRED", "SESSION_ENDED"})


class NodeRefused(Exception):
    """The device said no to a control call; `refusal.reason` says why. The message names the call."""

    def __init__(self, refusal: Refusal) -> None:
        named = f" (request {refusal.request_id})" if refusal.request_id else ""
        super().__init__(f"{refusal}{named}")
        self.refusal = refusal

    @property
    def session_over(self) -> bool:
        """Whether the session is what it no longer knows."""
        return self.refusal.reason in GONE_REASONS


class NoLane(NodeRefused):
    """A lane is all that is wanted, and there is none: the device may be well otherwise."""


class NodeSilent(Exception):
    """The device did not answer within the time that the runner waits."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message or refusal.code.name)
        self.may_have_happened = unanswered(refusal)


class ProtocolBroken(Exception):
    """The device answered what the contract does not allow here: a bug of one side."""


_STATUS: Final[dict[str, NodeStatus]] = {
    "NO_MORE_WRITES": NodeStatus.NO_MORE_WRITES,
    "REGION_LIMIT": NodeStatus.REGION_LIMIT,
    "POISONED": NodeStatus.POISONED,
    "DEVICE_BUSY": NodeStatus.UNAVAILABLE,
    "COMMAND_REFUSED": NodeStatus.UNAVAILABLE,
    "MEDIA_READ_ONLY": NodeStatus.NO_MORE_WRITES,
    # Credentials that were taken away may come back; if not, the lease runs out.
    **dict.fromkeys(("UNAUTHENTICATED", "NOT_ALLOWED"), NodeStatus.UNAVAILABLE),
    **dict.fromkeys(GONE_REASONS, NodeStatus.GONE),
}


def node_status(refusal: Refusal) -> NodeStatus:
    """What a refused data call means to the policy: the one table.

    Raises:
        ProtocolBroken: a refusal that a correct agent never meets (a bad address, say).
    """
    status = _STATUS.get(refusal.reason)
    if status is not None:
        return status
    if not refusal.reason and refusal.code in {
        *NO_ANSWER,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }:
        return NodeStatus.UNAVAILABLE
    raise ProtocolBroken(f"the device refused a data call: {refusal}")


def unanswered(refusal: Refusal) -> bool:
    """Whether the device may have done what was asked: the request was sent, and no answer came."""
    if refusal.code is grpc.StatusCode.UNAVAILABLE:
        # What gRPC says of a request that never left; a reason would be the device's own answer.
        return not refusal.reason and not refusal.message.startswith("failed to connect")
    return refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED


def tell_refusal(call: Callable[..., Any], refusal: Refusal, facts: Mapping[str, Any]) -> None:
    """A line about a call that failed. `facts`: of the node."""
    reason = refusal.reason or refusal.code.name
    operation: str = getattr(call, "func", call).__name__

    def told() -> dict[str, Any]:
        return {
            **facts,
            "operation": operation,
            "request": refusal.request_id,
            "reason": reason,
            "message": refusal.message,
        }

    if refusal.code in NO_ANSWER and not refusal.reason:
        log_often("call_unanswered", operation, reason, facts=told)
    else:
        log_often("call_refused", operation, reason, facts=told)
