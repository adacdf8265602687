"""Refusals as a client reads them, from real failed calls over a real port."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2

from cramwire.refusal import DOMAIN, REASONS, Refusal, read_refusal
from cramwire.v1 import device_pb2, device_pb2_grpc, errors_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message


def refuser(
    code: grpc.StatusCode, message: str, details: tuple[Message, ...]
) -> grpc.GenericRpcHandler[Any, Any]:
    """Answers every Identify with one prepared failure."""

    def identify(request: device_pb2.IdentifyRequest, context: grpc.ServicerContext) -> None:
        if details:
            status = status_pb2.Status(code=code.value[0], message=message)
            for detail in details:
                packed = AnyMessage()
                packed.Pack(detail)
                status.details.append(packed)
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)

    handler = grpc.unary_unary_rpc_method_handler(
        identify, device_pb2.IdentifyRequest.FromString, device_pb2.IdentifyResponse.SerializeToString
    )
    return grpc.method_handlers_generic_handler("cramwire.v1.DeviceService", {"Identify": handler})


@contextmanager
def refused(code: grpc.StatusCode, message: str, *details: Message) -> Iterator[Refusal]:
    """The refusal that a client reads of such a failure."""
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((refuser(code, message, details),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                device_pb2_grpc.DeviceServiceStub(channel).Identify(device_pb2.IdentifyRequest())
            yield read_refusal(caught.value)
    finally:
        server.stop(None).wait()


def test_a_plain_error_has_no_reason() -> None:
    """The transport failed, not the device: only code and message are known."""
    with refused(grpc.StatusCode.UNAVAILABLE, "gone fishing") as refusal:
        assert refusal == Refusal(grpc.StatusCode.UNAVAILABLE, "gone fishing")
        assert str(refusal) == "UNAVAILABLE: gone fishing"


def test_the_reason_and_the_typed_detail_are_read() -> None:
    """A refused write says how many pages were accepted."""
    info = error_details_pb2.ErrorInfo(
        reason="NO_MORE_WRITES", domain=DOMAIN, metadata={"accepted_pages": "3"}
    )
    detail = errors_pb2.WriteRefused(accepted_pages=3, refused_dpa=0x3000)
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", info, detail) as refusal:
        assert refusal.reason == "NO_MORE_WRITES"
        assert refusal.metadata == {"accepted_pages": "3"}
        assert refusal.write_refused == detail
        assert refusal.pages_poisoned is None
        assert str(refusal) == "NO_MORE_WRITES: full"


def test_poisoned_pages_are_named() -> None:
    """The detail of a read that met poison."""
    info = error_details_pb2.ErrorInfo(reason="POISONED", domain=DOMAIN)
    with refused(grpc.StatusCode.DATA_LOSS, "lost", info, errors_pb2.PagesPoisoned(dpas=[4096])) as refusal:
        assert refusal.pages_poisoned is not None
        assert list(refusal.pages_poisoned.dpas) == [4096]


def test_a_reason_of_another_domain_is_not_ours() -> None:
    """A proxy on the way may refuse with an ErrorInfo of its own."""
    info = error_details_pb2.ErrorInfo(reason="NO_MORE_WRITES", domain="example.org")
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", info) as refusal:
        assert refusal.reason == ""


def test_reasons_are_the_wire_s_without_the_prefix() -> None:
    """One list, taken from the contract itself."""
    assert {"NO_MORE_WRITES", "POISONED", "STALE_GENERATION"} <= REASONS
    assert "UNSPECIFIED" not in REASONS
