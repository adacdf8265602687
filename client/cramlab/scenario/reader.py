"""From a TOML file to a scenario; every mistake is one line that names the file's line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cramlab.scenario.contradiction import contradiction
from cramlab.scenario.model import Scenario
from cramlab.scenario.problem import ScenarioError
from cramlab.scenario.read_expect import ExpectReader
from cramlab.scenario.read_parts import read_device, read_hosts, read_wire
from cramlab.scenario.read_timeline import TimelineReader, check_order
from cramlab.scenario.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from cramlab.scenario.expectation import Expectation

_SHORTEST_SAMPLE_NS: Final = 200_000_000
"""An agent shows itself so often."""
_LONGEST_SAMPLE_NS: Final = 60_000_000_000
_SAMPLES: Final = 100
"""So many of a run, where the file does not say how often."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)


def read_scenario(path: Path, seed: int | None = None) -> Scenario:
    """Read and check a file.

    Args:
        path: `NAME.toml`.
        seed: instead of the file's.

    Raises:
        ScenarioError: it cannot be run as it stands.
        OSError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioError(path, 1, f"not UTF-8: {error}") from None
    if not _NAME.fullmatch(path.stem):
        raise ScenarioError(path, 1, f"{path.stem!r} is no name: small letters, digits and '-'")
    root = Table.root(path, text)
    question = root.text("question")
    stated_seed = root.whole("seed", 0)
    seed = stated_seed if seed is None else seed
    duration_ns = root.duration("duration")
    if not duration_ns:
        root.fail("is above 0", "duration")
    sample_ns = root.duration(
        "sample", min(_LONGEST_SAMPLE_NS, max(_SHORTEST_SAMPLE_NS, duration_ns // _SAMPLES))
    )
    if not sample_ns:
        root.fail("is above 0", "sample")
    device = read_device(root.table("device"))
    wire = read_wire(root.table("wire"))
    placed = list(read_hosts(root, seed, duration_ns))
    hosts = tuple(host for host, _ in placed)
    if not hosts:
        root.fail("a scenario has at least one host: [host.NAME]")
    steps = [step for _, own in placed for step in own]
    timeline = TimelineReader(hosts, device.settings.device, seed, duration_ns)
    # By time first: what is cleared must have been armed before, wherever the file says so.
    for entry in sorted(root.tables("timeline"), key=lambda entry: entry.duration("at")):
        steps += timeline.read(entry)
    steps.sort(key=lambda step: step.at_ns)
    if (wrong := check_order(steps, hosts)) is not None:
        raise ScenarioError(path, wrong[0].line, wrong[1])
    reader = ExpectReader(hosts, steps, duration_ns)
    expectations = tuple(reader.read(entry) for entry in root.tables("expect"))
    root.finish()
    _refuse_contradiction(path, expectations)
    return Scenario(
        name=path.stem,
        path=path,
        question=question,
        seed=seed,
        duration_ns=duration_ns,
        sample_ns=sample_ns,
        device=device,
        hosts=hosts,
        timeline=tuple(steps),
        expectations=expectations,
        wire=wire,
    )


def _refuse_contradiction(path: Path, expectations: tuple[Expectation, ...]) -> None:
    both = contradiction(expectations)
    if both is None:
        return
    earlier, later = both
    if earlier is later:
        raise ScenarioError(path, later.line, f"{later.that!r} can never hold: its bounds exclude each other")
    raise ScenarioError(
        path, later.line, f"{later.that!r} contradicts {earlier.that!r} in line {earlier.line}: never both"
    )
