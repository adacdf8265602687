"""`cramctl scenario`. Light to import: what a command needs is loaded when it runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cramctl.options import form_option, json_file_option, wants_json, writable_file_option

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cramlab.scenario.model import Scenario


@click.group()
def scenario() -> None:
    """Run scenarios: hosts, a timeline of faults, and what must hold in the end.

    \b
    Example:
      cramctl scenario list
      cramctl scenario run exhaustion-while-demoting
      cramctl scenario check my-scenario.toml
    """  # noqa: D301 - click's mark: keep these lines as they are


@scenario.command("run")
@click.argument("file")
@click.option(
    "--simulated",
    is_flag=True,
    help="In emulated time, without processes: an hour takes seconds, and the same result comes every time.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Instead of the file's.")
@json_file_option
@writable_file_option("--junit", "junit_file", "Write the verdicts here, as JUnit XML.")
@click.option("--keep-logs", is_flag=True, help="Keep the processes' logs. Kept in any case if it fails.")
def run_command(
    *,
    file: str,
    simulated: bool,
    seed: int | None,
    json_file: Path | None,
    junit_file: Path | None,
    keep_logs: bool,
) -> None:
    """Run a scenario: a FILE, or the name of one that is shipped.

    Starts one cxldevd and an agent for each host, injects the faults of the timeline, and judges what
    was measured. With --simulated, service and agents run in this process, on an emulated clock.

    Exit codes: 0 everything holds; 1 an expectation is broken, or the run went wrong; 2 wrong usage or
    a wrong file; 130 interrupted.

    \b
    Example:
      cramctl scenario run exhaustion-while-demoting --json result.json --junit result.xml
      cramctl scenario run my-scenario.toml --simulated --seed 7
    """  # noqa: D301 - click's mark: keep these lines as they are
    read = _read(file, seed)
    from cramlab.scenario.run import Wanted, run_scenario  # noqa: PLC0415 - takes long to load

    raise SystemExit(run_scenario(read, Wanted(json_file, junit_file, keep_logs, simulated)))


@scenario.command("list")
@form_option
def list_command(as_json: bool | None) -> None:
    """List the scenarios that are shipped, and the question that each answers.

    \b
    Example:
      cramctl scenario list --json
    """  # noqa: D301 - click's mark: keep these lines as they are
    from cramlab.scenario.library import shipped  # noqa: PLC0415 - takes long to load

    found = [_described(_read(str(path), None)) for path in shipped()]
    if wants_json(as_json):
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        hosts = "1 host" if one["hosts"] == 1 else f"{one['hosts']} hosts"
        click.echo(f"{one['name']}  ({hosts}, {one['duration']})\n    {one['question']}")


@scenario.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@form_option
def check_command(files: tuple[str, ...], as_json: bool | None) -> None:
    """Check scenario files without running them: unknown keys, faults, hosts, measurements, units.

    Exit codes: 0 all could be run; 2 one could not, and its line is told.

    \b
    Example:
      cramctl scenario check deploy/scenarios/*.toml
    """  # noqa: D301 - click's mark: keep these lines as they are
    checked = list(_checked(files))
    if wants_json(as_json):
        click.echo(json.dumps(checked, indent=2))
    else:
        for one in checked:
            click.echo(one["error"] or f"{one['file']}: good")
    if any(one["error"] for one in checked):
        raise SystemExit(2)


def _checked(files: Iterable[str]) -> Iterable[dict[str, Any]]:
    for file in files:
        try:
            _read(file, None)
        except click.UsageError as wrong:
            yield {"file": file, "error": wrong.message}
        else:
            yield {"file": file, "error": None}


def _read(file: str, seed: int | None) -> Scenario:
    from cramlab.scenario.library import find  # noqa: PLC0415 - takes long to load
    from cramlab.scenario.problem import ScenarioError  # noqa: PLC0415 - as above
    from cramlab.scenario.reader import read_scenario  # noqa: PLC0415 - as above

    try:
        return read_scenario(find(file), seed)
    except (ScenarioError, FileNotFoundError) as wrong:
        raise click.UsageError(str(wrong)) from wrong
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror or error}") from error


def _described(read: Scenario) -> dict[str, Any]:
    from cramlab.scenario.timing import shown_ns  # noqa: PLC0415 - as above

    return {
        "name": read.name,
        "question": read.question,
        "file": str(read.path),
        "hosts": len(read.hosts),
        "duration": shown_ns(read.duration_ns),
        "duration_ns": read.duration_ns,
        "expectations": len(read.expectations),
    }
