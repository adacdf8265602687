"""Messages as the device's arguments. What is right or wrong about them, the device says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from cxldev.errors import InvalidField
from cxldev.faults import ExhaustionFault, LatencyFault, PoisonFault, RatioCollapseFault, ResetFault
from cxldev.outcomes import SessionRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramwire.page_messages import PageRequest
    from cramwire.v1 import operator_pb2, types_pb2
    from cxldev.faults import Fault


Addresses = np.ndarray[tuple[int], np.dtype[np.uint64]]
"""DPAs of one request, bytes."""


class _OfSession(Protocol):
    """A request that shows a session."""

    session: str
    generation: str


def session(request: _OfSession) -> SessionRef:
    """The session that a request shows."""
    return SessionRef(request.session, request.generation)


def page_request(request: PageRequest) -> tuple[SessionRef, Addresses]:
    """Session and addresses of a request that carries or asks for pages, copied out of its message."""
    dpas = np.frombuffer(request.dpas, "<u8").astype(np.uint64)
    return SessionRef(request.session, request.generation), dpas


def addresses(dpas: Sequence[int]) -> Addresses:
    """Addresses of a request, copied out of its message once."""
    return np.fromiter(dpas, np.uint64, len(dpas))


def ranges(given: Sequence[types_pb2.DpaRange]) -> tuple[Addresses, Addresses]:
    """Starts and lengths of a TRIM, bytes."""
    starts = np.fromiter((one.start for one in given), np.uint64, len(given))
    lengths = np.fromiter((one.length for one in given), np.uint64, len(given))
    return starts, lengths


def fault(of: operator_pb2.Fault) -> Fault:
    """The fault that an operator asks for.

    Raises:
        InvalidField: no kind of fault is named.
    """
    match of.WhichOneof("kind"):
        case "exhaustion":
            amount = of.exhaustion.WhichOneof("amount")
            return ExhaustionFault(
                bytes=of.exhaustion.bytes if amount == "bytes" else None,
                share_milli=of.exhaustion.share_milli if amount == "share_milli" else None,
            )
        case "poison":
            asked = of.poison
            return PoisonFault(asked.host, tuple(asked.dpas), asked.random_pages, asked.seed)
        case "ratio_collapse":
            return RatioCollapseFault(of.ratio_collapse.ratio_milli)
        case "latency":
            return LatencyFault(of.latency.device_ns, of.latency.wall_ns)
        case "reset":
            return ResetFault()
        case None:
            raise InvalidField(
                "fault.kind is absent: set exhaustion, poison, ratio_collapse, latency or reset"
            )
