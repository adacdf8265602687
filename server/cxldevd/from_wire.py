"""Messages as the device's arguments. What is right or wrong about them, the device says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from cxldev.outcomes import SessionRef

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramwire.page_messages import PageRequest
    from cramwire.v1 import types_pb2


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
