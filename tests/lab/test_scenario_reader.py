"""Scenario files: what they mean, and that every mistake is told with its line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cramlab.scenario.library import find, shipped
from cramlab.scenario.lines import line_index
from cramlab.scenario.model import AddCapacity, Clear, Inject, KillHost, ReleaseCapacity, StartHost, StopHost
from cramlab.scenario.problem import ScenarioError
from cramlab.scenario.reader import read_scenario
from scenario_helpers import NS_PER_S, scenario_of

if TYPE_CHECKING:
    from pathlib import Path


def test_a_scenario_says_all_that_its_file_says(tmp_path: Path) -> None:
    """Sizes in bytes, times in ns, options with the defaults of the commands that take them."""
    scenario = scenario_of(tmp_path)
    assert (scenario.name, scenario.seed, scenario.duration_ns) == ("test-scenario", 7, 10 * NS_PER_S)
    assert scenario.device.settings.device.physical_capacity_bytes == 4 << 20
    assert scenario.device.given == {"physical": "4MiB"}
    assert [host.name for host in scenario.hosts] == ["quiet", "bear-1", "bear-2"]
    assert {host.group for host in scenario.hosts} == {"quiet", "bear"}
    assert scenario.hosts[0].options["pages"] == 500
    assert scenario.hosts[0].options["close_pressure"] == 750
    assert all(host.from_start for host in scenario.hosts)


def test_the_environment_is_not_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shell has set for its own agents and devices changes no scenario."""
    monkeypatch.setenv("CRAM_AGENT_BUDGET", "99")
    assert scenario_of(tmp_path).hosts[0].options["budget"] == 0


def test_seeds_are_drawn_from_the_scenarios_and_the_hosts_name(tmp_path: Path) -> None:
    """Each host has its own; another seed changes all; another host changes none."""
    before = [host.options["seed"] for host in scenario_of(tmp_path).hosts]
    assert len(set(before)) == 3
    more = scenario_of(tmp_path, "[host.another]\npages = 500\n")
    assert [host.options["seed"] for host in more.hosts][:3] == before
    assert not set(before) & {host.options["seed"] for host in scenario_of(tmp_path, seed=8).hosts}


def test_capacity_is_added_and_asked_back(tmp_path: Path) -> None:
    """From each host of a group; without a time, the device waits for the host."""
    text = """
[[timeline]]
at = "1s"
add = "quiet"
size = "4KiB"

[[timeline]]
at = "2s"
release = "bear"
size = "1MiB"
force-after = "500ms"
"""
    assert [step.action for step in scenario_of(tmp_path, text).timeline] == [
        AddCapacity("quiet", 4096),
        ReleaseCapacity("bear-1", 1 << 20, NS_PER_S // 2),
        ReleaseCapacity("bear-2", 1 << 20, NS_PER_S // 2),
    ]


@pytest.mark.parametrize(
    ("size", "message"), [("", "release needs a size"), ('size = "100B"', "100 bytes are not whole pages")]
)
def test_capacity_is_whole_pages(tmp_path: Path, size: str, message: str) -> None:
    """Said with the line."""
    with pytest.raises(ScenarioError, match=message):
        scenario_of(tmp_path, f'[[timeline]]\nat = "1s"\nrelease = "quiet"\n{size}\n')


def test_the_timeline_is_in_the_order_of_time(tmp_path: Path) -> None:
    """Hosts' own `start` and `stop` are steps, too; a group is all its hosts."""
    scenario = scenario_of(
        tmp_path,
        """
[host.late]
start = "1s"
stop = "9s"

[[timeline]]
at = "5s"
clear = "squeeze"

[[timeline]]
at = "2s"
inject = "exhaustion"
share = 0.5
as = "squeeze"

[[timeline]]
at = "6s"
kill = "bear"
""",
    )
    steps = [(step.at_ns // NS_PER_S, type(step.action)) for step in scenario.timeline]
    assert steps == [
        (1, StartHost),
        (2, Inject),
        (5, Clear),
        (6, KillHost),
        (6, KillHost),
        (9, StopHost),
    ]
    injected = scenario.timeline[1].action
    assert isinstance(injected, Inject)
    assert (injected.label, injected.kind) == ("squeeze", "exhaustion")
    assert injected.request.fault.exhaustion.share_milli == 500


def test_faults_take_the_settings_and_the_scope_of_the_command_line(tmp_path: Path) -> None:
    """Several values as a list; a seed of its own, drawn from the scenario's."""
    text = """
[[timeline]]
at = "1s"
inject = "event"
trouble = "late"
delay = "500ms"
event = ["watermark_crossed", "device_reset"]
only-host = "quiet"
of = 0.25

[[timeline]]
at = "1s"
inject = "unanswered-command"
only = "write"
carried-out = true
seed = 5
"""
    actions = [step.action for step in scenario_of(tmp_path, text).timeline]
    again = [step.action for step in scenario_of(tmp_path, text, seed=8).timeline]
    late, unanswered = actions
    assert isinstance(late, Inject)
    assert isinstance(unanswered, Inject)
    assert late.request.fault.event.delay_ns == NS_PER_S // 2
    assert list(late.request.fault.event.events) == ["watermark_crossed", "device_reset"]
    assert (late.request.fault.scope.host, late.request.fault.scope.share_milli) == ("quiet", 250)
    assert late.request.fault.scope.seed > 0
    assert unanswered.request.fault.scope.seed == 5
    assert unanswered.request.fault.unanswered_command.carried_out
    assert again[0] != late
    assert again[1] == unanswered


def test_lines_of_tables_and_keys() -> None:
    """Headers, arrays of tables, dotted keys, values over several lines, tables within a line."""
    text = """# a comment
name = "x"
list = [
  1,
]

[host.a]
text = '''
[not.a.header]
'''
[[timeline]]
at = 1
[timeline.scope]
host = "a"
[[timeline]]
window = { from = 1 }
"""
    lines = line_index(text)
    assert lines["name",] == 2
    assert lines["list",] == 3
    assert lines["host", "a"] == 7
    assert lines["host", "a", "text"] == 8
    assert lines["timeline", 0, "at"] == 12
    assert lines["timeline", 0, "scope", "host"] == 14
    assert lines["timeline", 1] == 15
    assert lines["timeline", 1, "window", "from"] == 16


LOSS = """[[expect]]
that = "no page was lost"
metric = "cram_pages_lost_total"
"""
WRONG = {
    "no TOML": ("x = = 1", 13, "not TOML"),
    "unknown key": ("[network]\n", 13, "unknown key 'network'"),
    "unknown setting of the device": ("[device.x]\n", 13, "unknown key 'x'"),
    "unknown option of a host": ("[host.new]\nbudgets = 3", 14, "did you mean 'budget'?"),
    "bad unit of a host": ('[host.new]\nnode = "64 parsecs"', 14, "is not a size"),
    "bad share of a host": ("[host.new]\nzero = 0.9\nincompressible = 0.9", 13, "more than all of them"),
    "bad policy": ("[host.new]\nclose-pressure = 10", 13, "0 <= open < close <= 1000"),
    "bad pattern": ('[host.new]\npattern = "zigzag"', 13, "zigzag"),
    "unknown source": ('[host.new]\nsource = "tape"', 14, "none of synthetic, program:NAME"),
    "unknown program": ('[host.new]\nsource = "program:doom"', 14, "there is no program 'doom'"),
    "a file that is not there": ('[host.new]\nsource = "file:none.bin"', 14, "there is no file"),
    "a host called device": ("[host.device]\n", 13, "is no name of a host"),
    "no hosts at all": ("[host.many]\ncount = 0", 14, "1 to 64 hosts"),
    "stops before it starts": ('[host.new]\nstart = "3s"\nstop = "2s"', 15, "after it started"),
    "starts after the end": ('[host.new]\nstart = "11s"', 14, "after the scenario's end"),
    "unknown fault": ('[[timeline]]\nat = "1s"\ninject = "locusts"', 15, "there is no fault 'locusts'"),
    "near a fault": ('[[timeline]]\nat = "1s"\ninject = "exhaust"', 15, "did you mean 'exhaustion'?"),
    "bad unit of a fault": (
        '[[timeline]]\nat = "1s"\ninject = "exhaustion"\nbytes = "much"',
        16,
        "is not a size",
    ),
    "two settings of a fault that exclude each other": (
        '[[timeline]]\nat = "1s"\ninject = "exhaustion"\nshare = 1.0\nbytes = "1MiB"',
        13,
        "exactly one of bytes, share",
    ),
    "a list for one value": (
        '[[timeline]]\nat = "1s"\ninject = "exhaustion"\nshare = [1.0]',
        16,
        "is not a number",
    ),
    "a wrong one of several": (
        '[[timeline]]\nat = "1s"\ninject = "event"\ntrouble = "lost"\nevent = ["doom"]',
        17,
        "'doom' is not one of",
    ),
    "unknown field of a fault": (
        '[[timeline]]\nat = "1s"\ninject = "exhaustion"\nshare = 1.0\nhue = 3',
        17,
        "unknown key 'hue'",
    ),
    "a time without its unit": ('[[timeline]]\nat = 3\nkill = "bear"', 14, "a time with its unit"),
    "bad unit of a time": ('[[timeline]]\nat = "3 fortnights"\nkill = "bear"', 14, "is not a time"),
    "after the end": ('[[timeline]]\nat = "11s"\nkill = "bear"', 14, "after the scenario's end"),
    "two things at once": ('[[timeline]]\nat = "1s"\nkill = "bear"\nstop = "bear"', 13, "does one thing"),
    "nobody to kill": ('[[timeline]]\nat = "1s"\nkill = "wolf"', 15, "there is no host 'wolf'"),
    "killed twice": (
        '[[timeline]]\nat = "1s"\nkill = "bear"\n[[timeline]]\nat = "2s"\nkill = "bear-1"',
        16,
        "'bear-1' does not run then",
    ),
    "resumed, but nobody paused it": (
        '[[timeline]]\nat = "1s"\nresume = "quiet"',
        13,
        "'quiet' is not paused then",
    ),
    "paused twice": (
        '[[timeline]]\nat = "1s"\npause = "bear"\n[[timeline]]\nat = "2s"\npause = "bear-2"',
        16,
        "'bear-2' is paused already",
    ),
    "started twice": ('[[timeline]]\nat = "1s"\nstart = "quiet"', 13, "'quiet' runs already"),
    "cleared before it is armed": (
        (
            '[[timeline]]\nat = "2s"\ninject = "exhaustion"\nshare = 1.0\n'
            '[[timeline]]\nat = "1s"\nclear = "exhaustion"'
        ),
        19,
        "no fault 'exhaustion' is armed by then",
    ),
    "about nobody": (LOSS + 'host = "wolf"\nis = 0', 16, "there is no host 'wolf'"),
    "no such measurement": (
        '[[expect]]\nthat = "x"\nmetric = "cram_joy_total"',
        15,
        "no measurement 'cram_joy",
    ),
    "no such label": (
        '[[expect]]\nthat = "x"\nmetric = \'cram_pages{colour="red"}\'\nis = 0',
        15,
        "no label 'colour'",
    ),
    "no such state": (
        '[[expect]]\nthat = "x"\nmetric = \'cram_pages{state="drum"}\'\nis = 0',
        15,
        "did you mean 'dram'?",
    ),
    "no bound": (LOSS, 13, "no bound"),
    "a text for a bound": (LOSS + 'is = "none"', 16, "neither a number nor a multiple"),
    "below nothing": (LOSS + "below = 0", 16, "nothing is below 0"),
    "a negative count": (LOSS + "is = -1", 16, "can never be"),
    "bounds that exclude each other": (LOSS + "above = 5\nat_most = 5", 13, "can never hold"),
    "a multiple of nothing": (LOSS + 'below = "2x"', 16, "2x of what?"),
    "a quantile of a counter": (LOSS + 'of = "p99"\nis = 0', 16, "is no histogram"),
    "a window that ends before it begins": (
        LOSS + 'from = "5s"\nuntil = "4s"\nis = 0',
        17,
        "ends before it begins",
    ),
    "a window after the end": (LOSS + 'from = "11s"\nis = 0', 16, "after the scenario's end"),
    "bad unit of a bound": (
        '[[expect]]\nthat = "x"\nmetric = "cram_fault_seconds"\nof = "p99"\nbelow = "3 beats"',
        17,
        "is not a time",
    ),
    "no such event": ('[[expect]]\nthat = "x"\ncomes = "node_clothed"', 15, "did you mean 'node_closed'?"),
    "no such fact": ('[[expect]]\nthat = "x"\ncomes = "watermark_crossed at=low"', 15, "has no 'at=low'"),
    "a fault that is never armed": (
        '[[expect]]\nthat = "x"\nafter = "fault_armed kind=poison"\ncomes = "node_closed"',
        15,
        "injects no 'poison'",
    ),
    "killed, but nobody kills": ('[[expect]]\nthat = "x"\ncomes = "host_killed"', 15, "kills no host"),
    "a level that there is not": (
        '[[expect]]\nthat = "x"\nafter = "watermark_crossed to=criticl"\ncomes = "node_closed"',
        15,
        "watermark_crossed is never to='criticl'; did you mean 'critical'?",
    ),
    "a cause that there is not": (
        '[[expect]]\nthat = "x"\ncomes = "region_detached cause=expired"\nnever = true',
        15,
        "did you mean 'lease_expired'?",
    ),
    "a fault that there is not, never cleared": (
        '[[expect]]\nthat = "x"\ncomes = "fault_cleared kind=exhaustoin"\nnever = true',
        15,
        "did you mean 'exhaustion'?",
    ),
    "below no time": (
        '[[expect]]\nthat = "x"\nmetric = "cram_fault_seconds"\nof = "p99"\nbelow = "0s"',
        17,
        "nothing is below 0",
    ),
    "a host that a fault cannot meet": (
        '[[timeline]]\nat = "1s"\ninject = "latency"\nwall = "1ms"\nonly-host = "wolf"',
        17,
        "there is no host 'wolf'",
    ),
    "a group where a fault takes one host": (
        '[[timeline]]\nat = "1s"\ninject = "poison"\nhost = "bear"\nrandom = 3',
        16,
        "did you mean 'bear-",
    ),
    "a fault that this device cannot have": (
        '[[timeline]]\nat = "1s"\ninject = "staging-overflow"',
        13,
        "no staging buffer",
    ),
    "a fault that the device would refuse": (
        '[[timeline]]\nat = "1s"\ninject = "event"\ntrouble = "late"',
        13,
        "late events take",
    ),
    "neither figure nor event": ('[[expect]]\nthat = "x"', 13, "either a `metric`"),
    "no sentence": ('[[expect]]\nmetric = "cram_pressure"', 13, "'that' is missing"),
}


@pytest.mark.parametrize(("text", "line", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    """FILE:LINE: what is wrong. Nothing is run."""
    with pytest.raises(ScenarioError) as caught:
        scenario_of(tmp_path, text)
    assert message in str(caught.value)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{tmp_path}/test-scenario.toml:{line}: ")


@pytest.mark.parametrize(
    ("head", "line", "message"),
    [
        ('duration = "1s"\n[host.a]', 1, "'question' is missing"),
        ('question = "?"\nduration = "0s"\n[host.a]', 2, "above 0"),
        ('question = "?"\nduration = "1s"', 1, "at least one host"),
        ('question = 3\nduration = "1s"', 1, "3 is not a string"),
        ('question = "?"\nduration = "1s"\nseed = true', 3, "True is not a whole number"),
        ('question = "?"\nduration = "1s"\n[device]\nphysical = "64 barns"', 4, "is not a size"),
        ('question = "?"\nduration = "1s"\n[device]\nlisten = "x"', 4, "unknown key 'listen'"),
        ('question = "?"\nduration = "1s"\n[device]\nzratio = 10', 3, "zratio is 1000..64000"),
    ],
)
def test_wrong_beginnings(tmp_path: Path, head: str, line: int, message: str) -> None:
    """The file's own keys, and the device's settings."""
    with pytest.raises(ScenarioError) as caught:
        scenario_of(tmp_path, head=head)
    assert message in str(caught.value)
    assert caught.value.line == line


def test_expectations_that_contradict_each_other(tmp_path: Path) -> None:
    """Both lines are told."""
    with pytest.raises(ScenarioError, match=r":17: 'some' contradicts 'no page was lost' in line 13"):
        scenario_of(
            tmp_path, LOSS + 'is = 0\n[[expect]]\nthat = "some"\nmetric = "cram_pages_lost_total"\nabove = 0'
        )
    never = '[[expect]]\nthat = "never"\ncomes = "node_closed"\nnever = true\n'
    once = '[[expect]]\nthat = "once"\ncomes = "node_closed"\nwithin = "1s"'
    with pytest.raises(ScenarioError, match="'once' contradicts 'never'"):
        scenario_of(tmp_path, never + once)


def test_expectations_about_different_hosts_do_not_contradict(tmp_path: Path) -> None:
    """Nor about different windows."""
    one = LOSS + 'host = "quiet"\nis = 0\n'
    other = LOSS + 'host = "bear"\nabove = 0\n'
    third = LOSS + 'until = "2s"\nabove = 0\n'
    assert len(scenario_of(tmp_path, one + other + third).expectations) == 3


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_shipped_scenarios_are_good(path: Path) -> None:
    """They can be run, ask a question, and expect something."""
    scenario = read_scenario(path)
    assert scenario.question.endswith("?")
    assert scenario.expectations
    assert find(path.stem) == path


def test_an_unknown_name_tells_the_known_ones() -> None:
    """Of the library."""
    with pytest.raises(FileNotFoundError, match="exhaustion-while-demoting"):
        find("no-such-scenario")
