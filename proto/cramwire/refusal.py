"""Refusals as a client reads them: the reason, and the details that come with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from cramwire.v1 import errors_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

DOMAIN: Final = "cramulator"
"""ErrorInfo.domain of every refusal that is the device's."""

CODES: Final[dict[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}
"""gRPC's codes by google.rpc.Code, the number that a Status carries."""

_DETAILS_KEY: Final = "grpc-status-details-bin"
_PREFIX: Final = "ERROR_REASON_"

REASONS: Final = frozenset(
    value.name.removeprefix(_PREFIX) for value in errors_pb2.ErrorReason.DESCRIPTOR.values if value.number
)
"""Every reason that ErrorInfo may carry, as it stands there."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One failed call. `reason` is empty where the failure is the transport's, not the device's."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    write_refused: errors_pb2.WriteRefused | None = None
    pages_poisoned: errors_pb2.PagesPoisoned | None = None
    request_id: str = ""
    """Which call failed, as both ends' logs name it."""

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class Refused(grpc.RpcError):
    """A call that failed on another road than gRPC's."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


def read_refusal(error: grpc.RpcError) -> Refusal:
    """What a failed call says, whatever road it took.

    `grpc_status.rpc_status.from_call` is of no use here: it returns None on plain errors and raises
    where the two status codes differ.
    """
    if isinstance(error, Refused):
        return error.refusal
    # All that gRPC raises are calls; the stubs know neither that, nor that a call may have no code.
    call: Any = error
    code = call.code() or grpc.StatusCode.UNKNOWN
    message = call.details() or ""
    # grpc-stubs call this one pair; it is a sequence of them.
    trailing = cast("Iterable[tuple[str, str | bytes]]", call.trailing_metadata() or ())
    packed = next((value for key, value in trailing if key == _DETAILS_KEY), None)
    if not isinstance(packed, bytes):
        return Refusal(code, message)
    return refusal_of(code, message, status_pb2.Status.FromString(packed))


def refusal_of(code: grpc.StatusCode, message: str, status: status_pb2.Status) -> Refusal:
    """What the details of a status say."""
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.RequestInfo()
    refused, poisoned = errors_pb2.WriteRefused(), errors_pb2.PagesPoisoned()
    has_info = has_refused = has_poisoned = False
    for detail in status.details:
        has_info |= detail.Unpack(info)
        has_refused |= detail.Unpack(refused)
        has_poisoned |= detail.Unpack(poisoned)
        detail.Unpack(request)
    if not has_info or info.domain != DOMAIN:
        return Refusal(code, message, request_id=request.request_id)
    return Refusal(
        code,
        message,
        info.reason,
        dict(info.metadata),
        refused if has_refused else None,
        poisoned if has_poisoned else None,
        request.request_id,
    )
