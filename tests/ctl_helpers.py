"""A stand-in for the device's operator side, and `cramctl` run against it."""

# ruff: noqa: N802, D102 - grpc names the methods of its servicers, and the .proto tells what they do

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from click.testing import CliRunner
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2

from cramctl.main import main
from cramwire.v1 import operator_pb2 as pb
from cramwire.v1 import operator_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

GENERATION = "00c0ffee00c0ffee"
MIB = 1 << 20


def telemetry(generation: str = GENERATION, newest: int = 0, **fields: Any) -> types_pb2.Telemetry:
    """A device of 64 MiB with 16 MiB used."""
    return types_pb2.Telemetry(
        generation=generation,
        event_sequence=newest,
        logical_capacity_bytes=192 * MIB,
        physical_capacity_bytes=64 * MIB,
        media_used_bytes=16 * MIB,
        media_free_bytes=48 * MIB,
        stored_pages=12_000,
        ratio_milli=2950,
        zratio_milli=3000,
        watermark=types_pb2.WATERMARK_LEVEL_ABOVE_HIGH,
        **fields,
    )


def started(after: int, newest: int, generation: str = GENERATION) -> pb.WatchAllEventsResponse:
    """The head of a stream."""
    answer = pb.WatchAllEventsResponse()
    answer.started.after_sequence = after
    answer.started.telemetry.CopyFrom(telemetry(generation, newest))
    return answer


def happened(sequence: int, generation: str = GENERATION, **kind: Any) -> pb.WatchAllEventsResponse:
    """One event of a stream, of the kind whose field is given."""
    return pb.WatchAllEventsResponse(
        event=types_pb2.Event(
            sequence=sequence,
            generation=generation,
            wall_time_ns=1_700_000_000_123_000_000,
            telemetry=telemetry(generation, sequence),
            **kind,
        )
    )


class FakeDevice(operator_pb2_grpc.OracleServiceServicer, operator_pb2_grpc.FaultServiceServicer):
    """Answers as a device would, remembers what it was asked, and plays streams from a script."""

    def __init__(self) -> None:
        self.address = ""
        self.injected: list[pb.Fault] = []
        self.cleared: list[str] = []
        self.watched_after: list[int | None] = []
        self.streams: list[list[pb.WatchAllEventsResponse]] = []
        """What each WatchAllEvents call answers; behind the last one, calls wait for ever."""
        self.refusal = ""
        """The reason with which faults are refused, if they are."""
        self.refusal_code = grpc.StatusCode.NOT_FOUND

    def GetStatus(self, request: pb.GetStatusRequest, context: grpc.ServicerContext) -> pb.GetStatusResponse:
        status = pb.GetStatusResponse(telemetry=telemetry(newest=7))
        status.identity.model = "cramulator"
        status.identity.version = "0.1.0"
        status.identity.generation = GENERATION
        status.identity.logical_capacity_bytes = 192 * MIB
        status.identity.physical_capacity_bytes = 64 * MIB
        status.identity.exhaustion_mode = types_pb2.EXHAUSTION_MODE_REFUSE
        status.media.reserved_bytes = 4 * MIB
        region = status.regions.add(lease_remaining_ns=9_000_000_000)
        region.telemetry.host = "host-a"
        region.telemetry.stored_pages = 12_000
        status.faults.append(self._armed())
        status.counters.capacity_identity_checks = 4711
        return status

    def ListFaults(
        self, request: pb.ListFaultsRequest, context: grpc.ServicerContext
    ) -> pb.ListFaultsResponse:
        return pb.ListFaultsResponse(faults=[self._armed()])

    def InjectFault(
        self, request: pb.InjectFaultRequest, context: grpc.ServicerContext
    ) -> pb.InjectFaultResponse:
        if self.refusal:
            self._refuse(context)
        self.injected.append(request.fault)
        kind = request.fault.WhichOneof("kind")
        return pb.InjectFaultResponse(
            fault_id="" if kind in {"poison", "reset"} else "f1",
            dpas=[0, 4096] if kind == "poison" else [],
            telemetry=telemetry(),
        )

    def ClearFaults(
        self, request: pb.ClearFaultsRequest, context: grpc.ServicerContext
    ) -> pb.ClearFaultsResponse:
        if self.refusal:
            self._refuse(context)
        self.cleared.append(request.fault_id)
        return pb.ClearFaultsResponse(cleared=1, telemetry=telemetry())

    def DescribePages(
        self, request: pb.DescribePagesRequest, context: grpc.ServicerContext
    ) -> pb.DescribePagesResponse:
        return pb.DescribePagesResponse()

    def WatchAllEvents(
        self, request: pb.WatchAllEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchAllEventsResponse]:
        self.watched_after.append(request.after_sequence if request.HasField("after_sequence") else None)
        if not self.streams:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "the script is over")
        yield from self.streams.pop(0)

    def _armed(self) -> pb.ArmedFault:
        scope = pb.FaultScope(host="host-a", operations=[pb.OPERATION_WRITE], count=5)
        return pb.ArmedFault(
            fault_id="f1",
            fault=pb.Fault(exhaustion=pb.ExhaustionFault(share_milli=500), scope=scope),
            armed_wall_time_ns=1_700_000_000_000_000_000,
            fired=3,
            left=2,
        )

    def _refuse(self, context: grpc.ServicerContext) -> NoReturn:
        """As the service does: ErrorInfo in the rich status."""
        detail = Packed()
        detail.Pack(error_details_pb2.ErrorInfo(reason=self.refusal, domain="cramulator"))
        message = "no region of host-z exists:\nattached are host-a"
        rich = status_pb2.Status(code=self.refusal_code.value[0], message=message, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", rich.SerializeToString()),))
        context.abort(self.refusal_code, message)


class Ctl:
    """`cramctl` in this process, told where the device is by its environment."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, *arguments: str) -> Result:
        """Run it; stdout is no terminal."""
        return CliRunner(env={"CRAMCTL_OPERATOR": self.address}).invoke(main, list(arguments))

    def json(self, *arguments: str) -> Any:
        """Run it, expect success, and read its answer."""
        result = self(*arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
