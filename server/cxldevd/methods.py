"""Which method is served by what, and on which threads: every method of the services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cramwire.page_messages import take_read_request, take_write_request
from cramwire.v1 import device_pb2, memory_pb2, operator_pb2
from cxldevd.transfer_commands import OPERATION

if TYPE_CHECKING:
    from cxldevd.calls import Service
    from cxldevd.device_calls import DeviceCalls
    from cxldevd.memory_calls import MemoryCalls
    from cxldevd.operator_calls import FaultCalls, OracleCalls
    from cxldevd.pools import CountedPool
    from cxldevd.region_calls import RegionCalls
    from cxldevd.transfer import TransferCall


def device_service(
    service: Service, calls: DeviceCalls, watching: CountedPool, renewing: CountedPool
) -> Service:
    """Event streams and Renews run apart from all else: a host that does not get through loses its lease."""
    pb = device_pb2
    service.unary(
        "Identify", calls.identify, pb.IdentifyRequest.FromString, pb.IdentifyResponse.SerializeToString
    )
    service.unary("Attach", calls.attach, pb.AttachRequest.FromString, pb.AttachResponse.SerializeToString)
    service.unary(
        "Renew", calls.renew, pb.RenewRequest.FromString, pb.RenewResponse.SerializeToString, renewing
    )
    service.unary("Resize", calls.resize, pb.ResizeRequest.FromString, pb.ResizeResponse.SerializeToString)
    service.unary(
        "GrantCredits",
        calls.grant_credits,
        pb.GrantCreditsRequest.FromString,
        pb.GrantCreditsResponse.SerializeToString,
    )
    service.unary("Detach", calls.detach, pb.DetachRequest.FromString, pb.DetachResponse.SerializeToString)
    service.unary(
        "GetTelemetry",
        calls.get_telemetry,
        pb.GetTelemetryRequest.FromString,
        pb.GetTelemetryResponse.SerializeToString,
    )
    service.stream(
        "WatchEvents",
        calls.watch_events,
        pb.WatchEventsRequest.FromString,
        pb.WatchEventsResponse.SerializeToString,
        watching,
    )
    return service


def memory_service(
    service: Service, calls: MemoryCalls, data: CountedPool, flushing: CountedPool, transfers: TransferCall
) -> Service:
    """Data calls run on the workers; FLUSHes, which wait, and calls that stay open, apart from them."""
    pb = memory_pb2
    service.unary("Write", calls.write, take_write_request, pb.WriteResponse.SerializeToString, data)
    service.unary("Read", calls.read, take_read_request, bytes, data)
    service.unary("Trim", calls.trim, pb.TrimRequest.FromString, pb.TrimResponse.SerializeToString, data)
    service.unary(
        "Flush", calls.flush, pb.FlushRequest.FromString, pb.FlushResponse.SerializeToString, flushing
    )
    service.exchange(
        "Transfer", OPERATION, transfers, transfers.experimental_thread_pool, transfers.most_open
    )
    return service


def fault_service(service: Service, calls: FaultCalls) -> Service:
    """All run on the operators' control threads."""
    pb = operator_pb2
    service.unary(
        "InjectFault",
        calls.inject_fault,
        pb.InjectFaultRequest.FromString,
        pb.InjectFaultResponse.SerializeToString,
    )
    service.unary(
        "ClearFaults",
        calls.clear_faults,
        pb.ClearFaultsRequest.FromString,
        pb.ClearFaultsResponse.SerializeToString,
    )
    service.unary(
        "ListFaults",
        calls.list_faults,
        pb.ListFaultsRequest.FromString,
        pb.ListFaultsResponse.SerializeToString,
    )
    return service


def region_service(service: Service, calls: RegionCalls) -> Service:
    """All run on the operators' control threads."""
    pb = operator_pb2
    service.unary(
        "AddCapacity",
        calls.add_capacity,
        pb.AddCapacityRequest.FromString,
        pb.AddCapacityResponse.SerializeToString,
    )
    service.unary(
        "ReleaseCapacity",
        calls.release_capacity,
        pb.ReleaseCapacityRequest.FromString,
        pb.ReleaseCapacityResponse.SerializeToString,
    )
    service.unary(
        "ShareMedia",
        calls.share_media,
        pb.ShareMediaRequest.FromString,
        pb.ShareMediaResponse.SerializeToString,
    )
    return service


def oracle_service(service: Service, calls: OracleCalls, watching: CountedPool) -> Service:
    """Event streams run on threads apart."""
    pb = operator_pb2
    service.unary(
        "GetStatus", calls.get_status, pb.GetStatusRequest.FromString, pb.GetStatusResponse.SerializeToString
    )
    service.unary(
        "DescribePages",
        calls.describe_pages,
        pb.DescribePagesRequest.FromString,
        pb.DescribePagesResponse.SerializeToString,
    )
    service.stream(
        "WatchAllEvents",
        calls.watch_all_events,
        pb.WatchAllEventsRequest.FromString,
        pb.WatchAllEventsResponse.SerializeToString,
        watching,
    )
    return service
