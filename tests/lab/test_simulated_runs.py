"""Scenarios in emulated time: the same every time, nothing lost, and what fails fails as it would live."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cramlab.scenario.evaluate import evaluate, passed
from cramlab.scenario.expectation import Figure, Window
from cramlab.scenario.figures import evaluate_figure
from cramlab.scenario.model import Clear, Inject, Step
from cramlab.scenario.problem import ScenarioError
from cramlab.scenario.reader import read_scenario
from cramlab.scenario.report import make_report
from cramlab.simulated.simulate import NotSimulated, simulate
from cramwire.v1 import operator_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cramlab.scenario.measurements import Outcome

SECOND = 1_000_000_000
DEVICE = '[device]\nphysical = "4MiB"\nzratio = 3000\n'
HOST = '[host.a]\npages = 400\ndram = "25%"\nrate = 400\nwrite-share = 0.2\n'

PRINT_REPORT = """
import json, sys
from pathlib import Path
from cramlab.scenario.evaluate import evaluate
from cramlab.scenario.reader import read_scenario
from cramlab.scenario.report import make_report
from cramlab.simulated.simulate import simulate
outcome = simulate(read_scenario(Path(sys.argv[1]), None))
print(json.dumps(make_report(outcome, evaluate(outcome))))
"""


def run(tmp_path: Path, *parts: str, duration: str = "3s", seed: int = 1) -> Outcome:
    """A scenario of these parts, run."""
    path = tmp_path / "scenario.toml"
    text = f'question = "What happens?"\nseed = {seed}\nduration = "{duration}"\nsample = "1s"\n'
    path.write_text(text + "\n".join(parts))
    return simulate(read_scenario(path, None))


def step(at: str, what: str) -> str:
    """One entry of a timeline."""
    return f'[[timeline]]\nat = "{at}"\n{what}\n'


def events(outcome: Outcome, who: str) -> Iterator[tuple[str, int]]:
    """(name, ns since time zero) of what happened to somebody."""
    return ((event.name, event.at_ns) for event in outcome.measurements.events if event.who == who)


def last(outcome: Outcome, who: str, name: str) -> float:
    """The last sample of a metric, its series summed."""
    found = outcome.measurements.find(who, name, {})
    assert found, f"{who} has no {name}"
    return sum(outcome.measurements.samples(series)[-1][1] for series in found)


def test_the_same_seed_gives_the_same_report_in_every_process(tmp_path: Path) -> None:
    """Bit for bit: two hosts, a fault, events; whatever Python's hashes are seeded with."""
    path = tmp_path / "scenario.toml"
    fault = step("1s", 'inject = "exhaustion"\nshare = 0.9') + step("2s", 'clear = "exhaustion"')
    head = 'question = "?"\nseed = 5\nduration = "3s"\n'
    path.write_text(head + DEVICE + HOST + "count = 2\nbudget = 20\n" + fault)
    reports = [
        subprocess.run(
            [sys.executable, "-c", PRINT_REPORT, str(path)],
            env={"PYTHONHASHSEED": hashes},
            check=True,
            capture_output=True,
        ).stdout
        for hashes in ("1", "2")
    ]
    assert reports[0] == reports[1]
    assert json.loads(reports[0])["passed"]


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    """The seed is what the run hangs on, and not the machine."""
    reports = []
    for seed in (1, 2):
        outcome = run(tmp_path, DEVICE, HOST, seed=seed)
        reports.append(make_report(outcome, evaluate(outcome))["measured"])
    assert reports[0] != reports[1]


def test_a_device_that_is_exhausted_closes_the_node_and_recovers(tmp_path: Path) -> None:
    """Nothing is lost on the way, and every page that is read back is right."""
    fault = step("1s", 'inject = "exhaustion"\nshare = 1.0') + step("2s", 'clear = "exhaustion"')
    outcome = run(tmp_path, DEVICE, HOST, fault, duration="4s")
    happened = dict(events(outcome, "a"))
    assert SECOND < happened["node_closed"] < SECOND + SECOND // 1000, "an interrupt takes microseconds"
    assert 2 * SECOND < happened["node_opened"] < 3 * SECOND
    assert last(outcome, "a", "cram_pages_lost_total") == 0
    assert last(outcome, "a", "cram_writebacks_total") > 0
    assert passed(outcome, evaluate(outcome))


def test_faults_of_the_way_between_host_and_device(tmp_path: Path) -> None:
    """Lost answers, dropped connections, a control path that stands: all are survived."""
    steps = [
        step(begin, f'inject = "{kind}"') + step(end, f'clear = "{kind}"')
        for kind, begin, end in (
            ("unanswered-command", "200ms", "400ms"),
            ("dropped-connection", "500ms", "700ms"),
            ("control-stall", "800ms", "3300ms"),
        )
    ]
    outcome = run(tmp_path, DEVICE, HOST + 'device-timeout = "50ms"\n', *steps, duration="4s")
    assert last(outcome, "a", "cram_pages_lost_total") == 0
    assert last(outcome, "a", "cram_mismatched_pages_total") == 0
    assert last(outcome, "a", "cram_control_silences_total") > 0
    assert last(outcome, "a", "cram_reattaches_total") == 0
    assert passed(outcome, evaluate(outcome))


def test_a_paused_host_stands_still_and_goes_on_at_its_rate(tmp_path: Path) -> None:
    """No access and no store meanwhile, and none is made up for; its lease is renewed all the while."""
    steps = step("1s", 'pause = "a"') + step("4s", 'resume = "a"')
    outcome = run(tmp_path, DEVICE, HOST + 'lease = "1s"\ninterval = "100ms"\n', steps, duration="6s")
    grown = {
        name: [
            evaluate_figure(Figure(name, of="growth"), outcome.measurements, "a", Window(begin, end))
            for begin, end in ((0, SECOND), (SECOND, 4 * SECOND), (4 * SECOND, 6 * SECOND))
        ]
        for name in ("cram_accesses_total", "cram_source_scans_total")
    }
    before, paused, after = grown["cram_accesses_total"]
    assert before
    assert after
    assert paused is not None
    # What is under way when the pause comes is finished.
    assert paused <= 64
    assert 1.5 * before < after < 2.5 * before
    assert grown["cram_source_scans_total"][1] == 0
    assert dict(events(outcome, "a")).keys() >= {"host_paused", "host_resumed"}
    assert "region_detached" not in [
        event.name for event in outcome.measurements.events if event.at_ns < 6 * SECOND
    ]
    assert passed(outcome, evaluate(outcome))


def test_the_lease_of_a_killed_host_runs_out_by_the_emulated_clock(tmp_path: Path) -> None:
    """Exactly: its last renewal, and the lease from then on."""
    host = HOST + 'lease = "3s"\n'
    outcome = run(tmp_path, DEVICE, host, step("1500ms", 'kill = "a"'), duration="6s")
    gone = [event for event in outcome.measurements.events if event.name == "region_detached"]
    assert [event.facts["cause"] for event in gone] == ["lease_expired"]
    killed = dict(events(outcome, "a"))["host_killed"]
    # It renews every second.
    assert 2 * SECOND <= gone[0].at_ns - killed <= 3 * SECOND
    assert last(outcome, "device", "cxldev_stored_pages") == 0


def test_a_reset_costs_what_lay_on_the_device_and_the_host_attaches_again(tmp_path: Path) -> None:
    """The losses are counted, and stored anew from the source."""
    outcome = run(tmp_path, DEVICE, HOST, step("1s", 'inject = "reset"'))
    names = [name for name, _ in events(outcome, "a")]
    assert names.index("node_offline") < names.index("node_online")
    assert last(outcome, "a", "cram_pages_lost_total") > 0
    assert last(outcome, "a", "cram_mismatched_pages_total") == 0
    attached = [at for name, at in events(outcome, "device") if name == "region_attached"]
    assert len(attached) == 2


def test_a_host_that_was_killed_begins_anew(tmp_path: Path) -> None:
    """As another process would: after its lease, or by taking its region over."""
    host = HOST + "take-over = true\n"
    steps = step("1s", 'kill = "a"') + step("2s", 'start = "a"')
    outcome = run(tmp_path, DEVICE, host, steps, duration="4s")
    names = [name for name, _ in events(outcome, "a") if name.startswith("host_")]
    assert names == ["host_started", "host_killed", "host_started", "host_stopped"]
    assert not outcome.problems


def test_a_host_cannot_begin_before_it_has_ended(tmp_path: Path) -> None:
    """Told as a problem, and the run goes on."""
    steps = step("1s", 'stop = "a"') + step("1s", 'start = "a"')
    outcome = run(tmp_path, DEVICE, HOST, steps, duration="2s")
    assert outcome.problems == ("a was to start while its life before had not ended",)


def test_device_time_is_emulated_time(tmp_path: Path) -> None:
    """A device of 10 ms a command has faults of more than that; one of nanoseconds has not."""
    slow, fast = (
        run(tmp_path, DEVICE + f'latency-base = "{base}"\n', HOST, duration="2s")
        for base in ("10ms", "100ns")
    )
    means = [
        last(outcome, "a", "cram_fault_seconds_sum") / last(outcome, "a", "cram_fault_seconds_count")
        for outcome in (slow, fast)
    ]
    assert means[0] > 0.001 > means[1]


def test_an_hour_is_played_with_long_turns_of_the_daemons(tmp_path: Path) -> None:
    """Five emulated minutes of an idle host are a few thousand turns, and leases hold all the time."""
    idle = "[host.a]\npages = 100\nrate = 1\nforks = 0\nstores = 0\nfrees = 0\n"
    outcome = run(tmp_path, DEVICE, idle, duration="300s")
    assert last(outcome, "device", "cxldev_leases_expired_total") == 0
    assert passed(outcome, evaluate(outcome))


def test_accesses_without_a_limit_take_time(tmp_path: Path) -> None:
    """`rate = 0` would never end, if a CPU took no time."""
    outcome = run(tmp_path, DEVICE, HOST.replace("rate = 400", "rate = 0"), duration="5ms")
    assert last(outcome, "a", "cram_accesses_total") > 500


def test_a_program_lives_in_real_time(tmp_path: Path) -> None:
    """Its host cannot be simulated, and the message says what can be done."""
    with pytest.raises(NotSimulated, match="host p: its source is a running program"):
        run(tmp_path, DEVICE, '[host.p]\nsource = "program:sqlite_store"\n')


def test_the_wire_of_a_scenario_says_when_a_host_hears_of_events(tmp_path: Path) -> None:
    """`[wire]` is for emulated time: a lazy interrupt closes the node later."""
    fault = step("1s", 'inject = "exhaustion"\nshare = 1.0')
    idle = HOST.replace("rate = 400", "rate = 1\nstores = 0\nfrees = 0\nforks = 0")
    outcome = run(tmp_path, DEVICE, idle, '[wire]\nevent = "50ms"\njitter = 0\n', fault, duration="2s")
    assert dict(events(outcome, "a"))["node_closed"] == SECOND + 50_000_000


def test_a_wire_that_cannot_be_is_refused_with_its_line(tmp_path: Path) -> None:
    """As everything in a scenario."""
    with pytest.raises(ScenarioError, match=r":\d+: .*not 0 to 10"):
        run(tmp_path, DEVICE, HOST, "[wire]\njitter = 11\n")


F = operator_pb2.Fault
HALF = operator_pb2.FaultScope(share_milli=500)
FAULTS = {
    "stalled control path": F(control_stall=operator_pb2.ControlStallFault()),
    "unanswered commands": F(unanswered_command=operator_pb2.UnansweredCommandFault(), scope=HALF),
    "dropped connections": F(dropped_connection=operator_pb2.DroppedConnectionFault(), scope=HALF),
    "refused commands": F(refused_command=operator_pb2.RefusedCommandFault(), scope=HALF),
    "lost events": F(event=operator_pb2.EventFault(trouble=operator_pb2.EVENT_TROUBLE_LOST)),
    "latency": F(latency=operator_pb2.LatencyFault(wall_ns=20_000_000)),
    "stuck TRIM": F(stuck_trim=operator_pb2.StuckTrimFault()),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_host_outlives_the_faults_of_the_service(tmp_path: Path, fault: operator_pb2.Fault) -> None:
    """The same faults as live: armed for a second, cleared, and every page that can be read is right."""
    path = tmp_path / "scenario.toml"
    path.write_text(
        f'question = "?"\nseed = 2\nduration = "4s"\nsample = "1s"\n{DEVICE}lease = "30s"\n{HOST}'
    )
    request = operator_pb2.InjectFaultRequest(fault=fault)
    timeline = (Step(SECOND, Inject("it", "fault", request), 1), Step(2 * SECOND, Clear(None), 1))
    outcome = simulate(replace(read_scenario(path), timeline=timeline))
    assert passed(outcome, evaluate(outcome)), outcome.problems
    assert last(outcome, "a", "cram_mismatched_pages_total") == 0
    assert last(outcome, "device", "cxldev_attached_hosts") == 0
