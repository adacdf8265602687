"""The operator's side of a device as a client sees it: status, faults, events; errors in one line."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc

from cramwire.channel import OPEN, ClientCredentials, open_channel
from cramwire.refusal import read_refusal
from cramwire.v1 import operator_pb2 as pb
from cramwire.v1 import operator_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from cramwire.v1 import types_pb2

CALL_DEADLINE_S: Final = 10.0
"""How long one call may take; a stream has no deadline."""


_HINTS: Final = {
    "UNAUTHENTICATED": " (give --token-file, or set CRAMCTL_TOKEN)",
}
"""What to change on our command line, by the reason of a refusal."""


class OperatorError(Exception):
    """The device refused, or could not be reached. The message is one line, for people."""


class Unreachable(OperatorError):
    """Nobody answers there, or nobody has time; later somebody may."""


class Operator:
    """One operator's listener. Connects with the first call; close it when done, or use `with`.

    Args:
        address: `HOST:PORT` or `unix:PATH`, as `cxldevd --operator` was given.
        channel: an open channel to there, which is closed with this; None: open one.
        credentials: what to show there, where none is given.

    Raises:
        CredentialsProblem: they cannot be used.

    Every method raises `OperatorError` with the device's own words if the device refuses.
    """

    def __init__(
        self, address: str, credentials: ClientCredentials = OPEN, *, channel: grpc.Channel | None = None
    ) -> None:
        self.address = address
        self._secured = credentials.ca is not None
        self._channel = channel or open_channel(address, credentials)
        self._oracle = operator_pb2_grpc.OracleServiceStub(self._channel)
        self._faults = operator_pb2_grpc.FaultServiceStub(self._channel)
        self._regions = operator_pb2_grpc.RegionServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all calls and the connection."""
        self._channel.close()

    def status(self) -> pb.GetStatusResponse:
        """All that the operator may know, in one consistent reading."""
        with self._one_line():
            return self._oracle.GetStatus(pb.GetStatusRequest(), timeout=CALL_DEADLINE_S)

    def inject(self, fault: pb.Fault) -> pb.InjectFaultResponse:
        """Arm a fault, or do what it says at once (poison, reset)."""
        with self._one_line():
            return self._faults.InjectFault(pb.InjectFaultRequest(fault=fault), timeout=CALL_DEADLINE_S)

    def clear(self, fault_id: str = "") -> pb.ClearFaultsResponse:
        """Disarm one fault, or all of them if no id is given."""
        with self._one_line():
            return self._faults.ClearFaults(pb.ClearFaultsRequest(fault_id=fault_id), timeout=CALL_DEADLINE_S)

    def faults(self) -> list[pb.ArmedFault]:
        """What is armed now."""
        with self._one_line():
            return list(self._faults.ListFaults(pb.ListFaultsRequest(), timeout=CALL_DEADLINE_S).faults)

    def add_capacity(self, host: str, length_bytes: int) -> types_pb2.RegionTelemetry:
        """Grow a region's DPA space; the region as it is then."""
        request = pb.AddCapacityRequest(host=host, length_bytes=length_bytes)
        with self._one_line():
            return self._regions.AddCapacity(request, timeout=CALL_DEADLINE_S).region

    def release_capacity(
        self, host: str, length_bytes: int, force_after_ns: int | None = None
    ) -> types_pb2.RegionTelemetry:
        """Ask for the end of a region back, and take it by force after a time, if one is given."""
        request = pb.ReleaseCapacityRequest(
            host=host, length_bytes=length_bytes, force_after_ns=force_after_ns
        )
        with self._one_line():
            return self._regions.ReleaseCapacity(request, timeout=CALL_DEADLINE_S).region

    def share_media(
        self, host: str, *, guaranteed_bytes: int | None = None, limit_bytes: int | None = None
    ) -> types_pb2.RegionTelemetry:
        """Change a region's guarantee, its limit, or both."""
        request = pb.ShareMediaRequest(
            host=host, guaranteed_media_bytes=guaranteed_bytes, limit_media_bytes=limit_bytes
        )
        with self._one_line():
            return self._regions.ShareMedia(request, timeout=CALL_DEADLINE_S).region

    def watch(
        self, after_sequence: int | None = None, *, wait_for_ready: bool = False
    ) -> Iterator[pb.WatchAllEventsResponse]:
        """Events of all regions and of the operator, until the stream ends or fails.

        Args:
            after_sequence: begin behind this one; None: behind the newest.
            wait_for_ready: wait for as long as nobody answers, instead of failing.
        """
        request = pb.WatchAllEventsRequest(after_sequence=after_sequence)
        with self._one_line():
            stream = self._oracle.WatchAllEvents(request, wait_for_ready=wait_for_ready)
            try:
                yield from stream
            finally:
                stream.cancel()  # type: ignore[no-untyped-call]  # grpc-stubs leave it bare

    def _about_tls(self) -> str:
        """GRPC says of a TLS listener no more than that it hung up."""
        if self._secured:
            return "Does it speak TLS, with a certificate of --tls-ca, and take our --tls-cert?"
        return "If it speaks TLS, give --tls-ca"

    @contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            refusal = read_refusal(error)
            if refusal.reason:
                # A busy or draining device says so itself, and may be asked again.
                busy = refusal.code is grpc.StatusCode.UNAVAILABLE
                hint = _HINTS.get(refusal.reason, "")
                raise (Unreachable if busy else OperatorError)(_line(f"{refusal}{hint}")) from error
            if refusal.code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}:
                raise Unreachable(
                    f"cannot reach {self.address}: {_cause(refusal.message)} "
                    f"(is cxldevd running, and is this its --operator address? {self._about_tls()})"
                ) from error
            if refusal.code is grpc.StatusCode.UNIMPLEMENTED:
                raise OperatorError(
                    f"{self.address} is no operator's listener of cxldevd: "
                    "hosts attach at one address, operators at another (cxldevd --operator)"
                ) from error
            if refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Unreachable(f"{self.address} did not answer within {CALL_DEADLINE_S:g} s") from error
            raise OperatorError(_line(str(refusal))) from error


def _line(text: str) -> str:
    """The same on one line."""
    return " ".join(text.split())


def _cause(message: str) -> str:
    """What lies behind grpc's "failed to connect to all addresses; last error: UNKNOWN: ...: why"."""
    cause = _line(message.rpartition("last error:")[2].rpartition(": ")[2] or message)
    # What grpc has in brackets is cut off at the front.
    return cause if "[" in cause else cause.rstrip("]")
