"""A command-line client that knows only what reflection tells it: `buf curl` against a real `cxldevd`."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.rpc import error_details_pb2

from cramlab.processes import DeviceProcess
from cramwire.v1 import errors_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

BUF = Path(sysconfig.get_path("scripts"), "buf")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not BUF.exists(), reason="buf is not installed"),
]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceProcess]:
    """One small device for all: each test attaches as a host of its own."""
    with DeviceProcess(tmp_path_factory.mktemp("device"), physical="256KiB") as process:
        yield process


def curl(address: str, method: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Exit code (8 times the gRPC code on a refusal) and the answer or the error, as JSON."""
    run = subprocess.run(
        [
            *(BUF, "curl", "--protocol", "grpc", "--http2-prior-knowledge"),
            *("--data", "@-", f"http://{address}/{method}"),
        ],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    answer: dict[str, Any] = json.loads(run.stdout if run.returncode == 0 else run.stderr)
    return run.returncode, answer


def attach(address: str, host: str) -> dict[str, str]:
    """What every later call of this host carries."""
    code, answer = curl(address, "cramwire.v1.DeviceService/Attach", {"host": host, "logicalBytes": "524288"})
    assert code == 0, answer
    return {"session": answer["session"], "generation": answer["generation"]}


def test_pages_go_in_and_come_out(device: DeviceProcess) -> None:
    """Write two, read them in the other order, TRIM one, FLUSH, detach."""
    ref = attach(device.address, "buf-life")
    pages = [b"one ".ljust(4096, b"1"), b"two ".ljust(4096, b"2")]
    memory = "cramwire.v1.MemoryService"
    data = base64.b64encode(b"".join(pages)).decode()
    assert (
        curl(device.address, f"{memory}/Write", {**ref, "dpas": ["0", "8192"], "data": data})[1][
            "acceptedPages"
        ]
        == 2
    )
    _, answer = curl(device.address, f"{memory}/Read", {**ref, "dpas": ["8192", "0"]})
    assert base64.b64decode(answer["data"]) == pages[1] + pages[0]
    _, answer = curl(device.address, f"{memory}/Trim", {**ref, "ranges": [{"start": "0", "length": "4096"}]})
    assert answer["trimmedPages"] == "1"
    code, answer = curl(device.address, f"{memory}/Flush", ref)
    assert code == 0
    _, answer = curl(device.address, f"{memory}/Read", {**ref, "dpas": ["0"]})
    assert base64.b64decode(answer["data"]) == bytes(4096)
    code, answer = curl(device.address, "cramwire.v1.DeviceService/Detach", ref)
    assert code == 0, answer


def test_exhaustion_comes_with_its_details(device: DeviceProcess) -> None:
    """The reason, and the typed detail with the accepted count and the telemetry."""
    ref = attach(device.address, "buf-full")
    noise = random.Random(0).randbytes(100 * 4096)
    request = {
        **ref,
        "dpas": [str(page * 4096) for page in range(100)],
        "data": base64.b64encode(noise).decode(),
    }
    code, error = curl(device.address, "cramwire.v1.MemoryService/Write", request)
    assert code == 8 * 8, error  # RESOURCE_EXHAUSTED
    assert error["code"] == "resource_exhausted"
    # buf leaves the padding of base64 off.
    details = {detail["type"]: base64.b64decode(detail["value"] + "==") for detail in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    assert (info.reason, info.domain) == ("NO_MORE_WRITES", "cramulator")
    # 256 KiB hold 63 raw pages of 4096 bytes and 16 of metadata.
    refused = errors_pb2.WriteRefused.FromString(details["cramwire.v1.WriteRefused"])
    assert refused.accepted_pages == 63
    assert refused.refused_dpa == 63 * 4096
    assert refused.telemetry.no_more_writes
    curl(device.address, "cramwire.v1.DeviceService/Detach", ref)


def test_the_standard_health_service_answers(device: DeviceProcess) -> None:
    """On both listeners."""
    for address in (device.address, device.operator_address):
        code, answer = curl(address, "grpc.health.v1.Health/Check", {})
        assert (code, answer) == (0, {"status": "SERVING"})


def test_the_operator_s_calls_are_not_on_the_host_s_listener(device: DeviceProcess) -> None:
    """A host cannot arm a fault, however it asks."""
    code, error = curl(device.address, "cramwire.v1.FaultService/ListFaults", {})
    assert (code, error["code"]) == (8 * 12, "unimplemented")
    code, _ = curl(device.operator_address, "cramwire.v1.FaultService/ListFaults", {})
    assert code == 0
