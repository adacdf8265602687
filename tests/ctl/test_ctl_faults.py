"""`cramctl inject` and `cramctl clear`: each command's fault on the wire, its answer, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from cramwire.fault_kinds import KINDS
from cramwire.v1 import operator_pb2 as pb
from cramwire.v1 import types_pb2

if TYPE_CHECKING:
    from ctl_helpers import Ctl, FakeDevice


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ("exhaustion --bytes 48MiB", pb.Fault(exhaustion=pb.ExhaustionFault(bytes=48 << 20))),
        ("exhaustion --share 0.5", pb.Fault(exhaustion=pb.ExhaustionFault(share_milli=500))),
        (
            "poison --host a --dpa 0x1000 --dpa 8192",
            pb.Fault(poison=pb.PoisonFault(host="a", dpas=[4096, 8192])),
        ),
        (
            "poison --host a --random 8 --seed 7",
            pb.Fault(poison=pb.PoisonFault(host="a", random_pages=8, seed=7)),
        ),
        ("ratio-collapse --ratio 1.2", pb.Fault(ratio_collapse=pb.RatioCollapseFault(ratio_milli=1200))),
        (
            "latency --device 1us --wall 1ms",
            pb.Fault(latency=pb.LatencyFault(device_ns=1_000, wall_ns=1_000_000)),
        ),
        (
            "exhaustion --share 0.9 --ramp 10s --for 1min",
            pb.Fault(
                exhaustion=pb.ExhaustionFault(share_milli=900, ramp_ns=10_000_000_000),
                scope=pb.FaultScope(duration_ns=60_000_000_000),
            ),
        ),
        (
            "latency --tail 0.01 --wall-tail 50ms --only read --only write --of 0.5 --seed 7",
            pb.Fault(
                latency=pb.LatencyFault(tail_milli=10, wall_tail_ns=50_000_000),
                scope=pb.FaultScope(
                    operations=[pb.OPERATION_READ, pb.OPERATION_WRITE], share_milli=500, seed=7
                ),
            ),
        ),
        (
            "read-only-media --only-host a --range 0x10000+64KiB --count 3",
            pb.Fault(
                read_only_media=pb.ReadOnlyMediaFault(),
                scope=pb.FaultScope(
                    host="a", range=types_pb2.DpaRange(start=1 << 16, length=1 << 16), count=3
                ),
            ),
        ),
        (
            "bit-flip --host a --dpa 0x1000 --bits 8 --seed 3",
            pb.Fault(bit_flip=pb.BitFlipFault(host="a", dpas=[4096], bits=8, seed=3)),
        ),
        ("staging-overflow", pb.Fault(staging_overflow=pb.StagingOverflowFault())),
        ("stuck-trim --delay 5ms", pb.Fault(stuck_trim=pb.StuckTrimFault(delay_ns=5_000_000))),
        ("flush-hang", pb.Fault(flush_hang=pb.FlushHangFault())),
        (
            "control-stall --only renew",
            pb.Fault(
                control_stall=pb.ControlStallFault(), scope=pb.FaultScope(operations=[pb.OPERATION_RENEW])
            ),
        ),
        ("refused-command", pb.Fault(refused_command=pb.RefusedCommandFault())),
        (
            "unanswered-command --carried-out",
            pb.Fault(unanswered_command=pb.UnansweredCommandFault(carried_out=True)),
        ),
        ("dropped-connection", pb.Fault(dropped_connection=pb.DroppedConnectionFault())),
        (
            "event --trouble late --delay 1s --event watermark-crossed",
            pb.Fault(
                event=pb.EventFault(
                    trouble=pb.EVENT_TROUBLE_LATE, delay_ns=1_000_000_000, events=["watermark_crossed"]
                )
            ),
        ),
        ("reset", pb.Fault(reset=pb.ResetFault())),
    ],
)
def test_each_fault_goes_over_the_wire_as_it_was_meant(
    ctl: Ctl, device: FakeDevice, arguments: str, fault: pb.Fault
) -> None:
    """Units are turned into the wire's; what was not given is not set."""
    result = ctl("inject", *arguments.split())
    assert result.exit_code == 0, result.output
    assert device.injected == [fault]


def test_the_table_of_kinds_is_the_wires() -> None:
    """Every kind of fault of the contract, and every field of its message and of its scope, once."""
    messages = pb.Fault.DESCRIPTOR.oneofs_by_name["kind"].fields
    assert set(KINDS) == {field.name for field in messages}
    scope = set(pb.FaultScope.DESCRIPTOR.fields_by_name)
    for message in messages:
        kind = KINDS[message.name]
        assert message.message_type is not None
        assert sorted(field.field for field in kind.fields) == sorted(message.message_type.fields_by_name)
        assert {field.field for field in kind.scope} <= scope


def test_the_page_of_faults_names_every_kind() -> None:
    """And every way of confining one."""
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    for kind in KINDS.values():
        assert f"| `{kind.name}` |" in page
        for field in kind.scope:
            assert f"--{field.name}" in page


@pytest.mark.parametrize("kind", KINDS)
def test_every_example_is_right(ctl: Ctl, device: FakeDevice, kind: str) -> None:
    """As it stands in the help."""
    for example in KINDS[kind].examples:
        result = ctl("inject", KINDS[kind].name, *example.split())
        assert result.exit_code == 0, result.output
        assert device.injected[-1].WhichOneof("kind") == kind


def test_the_answer_for_people_names_what_to_clear(ctl: Ctl) -> None:
    """One line with the id."""
    result = ctl("inject", "exhaustion", "--share", "0.5")
    assert result.stdout == "exhaustion armed as f1, 48.0 MiB of media free\n"


def test_poison_tells_the_pages(ctl: Ctl) -> None:
    """Random ones are known from the answer only."""
    result = ctl("inject", "poison", "--host", "host-a", "--random", "2")
    assert result.stdout == "poison: 2 pages of host-a: 0x0, 0x1000\n"


def test_the_answer_as_json(ctl: Ctl) -> None:
    """For scripts: the id, or null where nothing stays armed."""
    assert ctl.json("inject", "latency", "--wall", "1ms", "--json")["fault"] == "f1"
    assert ctl.json("inject", "poison", "--host", "a", "--random", "2", "--json") == {
        "fault": None,
        "kind": "poison",
        "dpas": [0, 4096],
        "generation": "00c0ffee00c0ffee",
        "media_free_size": 48 << 20,
        "no_more_writes": False,
    }


def test_clearing_one_and_all(ctl: Ctl, device: FakeDevice) -> None:
    """All is the wire's empty id."""
    assert ctl("clear", "f1").stdout == "1 fault cleared, 48.0 MiB of media free\n"
    assert ctl.json("clear", "--all", "--json") == {"cleared": 1, "media_free_size": 48 << 20}
    assert device.cleared == ["f1", ""]


@pytest.mark.parametrize("command", ["inject poison --host host-z --random 1", "clear f9"])
def test_a_refusal_is_the_devices_own_words_on_one_line(ctl: Ctl, device: FakeDevice, command: str) -> None:
    """Reason and message, exit code 1."""
    device.refusal = "UNKNOWN_HOST"
    result = ctl(*command.split())
    assert result.exit_code == 1
    assert result.stderr == "Error: UNKNOWN_HOST: no region of host-z exists: attached are host-a\n"


def test_a_busy_device_speaks_for_itself(ctl: Ctl, device: FakeDevice) -> None:
    """It was reached: nothing is said about addresses."""
    device.refusal, device.refusal_code = "DEVICE_BUSY", grpc.StatusCode.UNAVAILABLE
    result = ctl("clear", "--all")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: DEVICE_BUSY: ")


def test_a_ratio_out_of_range_is_told_the_range_in_plain_digits(ctl: Ctl) -> None:
    """One cannot type 4.29497e+06 back."""
    result = ctl("inject", "ratio-collapse", "--ratio", "0.5")
    assert result.exit_code == 2
    assert "0.5 is not in 1..4294967.295, in steps of 0.001" in " ".join(result.stderr.split())
