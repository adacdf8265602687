"""One run from its options to its report: open everything, run, close everything."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import click

from cramagent.addresses import find_devices
from cramagent.attaching import RunFailed, begin, kept_of, open_client, tell_apart
from cramagent.journal import Journal
from cramagent.kept_state import write_state
from cramagent.link import NodeLink
from cramagent.log import logging_as
from cramagent.machine import Machine
from cramagent.messages import Pause, Stop
from cramagent.metrics import AgentCollector, serve_metrics
from cramagent.parts import (
    Options,
    check_paths,
    described,
    kept_settings,
    metrics_address,
    pace,
    plan_of,
    policy_settings,
    region,
    synthetic,
)
from cramagent.patterns import parse_pattern
from cramagent.policy.settings import SettingError
from cramagent.report import exit_code, make_report, summary, write_report
from cramagent.runner import Runner
from cramagent.sources import parse_source
from cramagent.traced import traces_for
from cramwire.ready import write_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from cramagent.attachment import Attachment
    from cramagent.journal import Note
    from cramagent.log import AgentLog
    from cramagent.messages import Message
    from cramagent.node_client import NodeClient


_ENDED_WITH: Final = (
    *("exit_reason", "error", "pages_verified", "pages_mismatched", "pages_lost", "pages_unread"),
    *("demotions", "promotions", "writebacks", "no_more_writes", "bus_errors", "reattaches"),
    *("accesses", "wall_seconds", "detached"),
)
"""What the last line says of the report."""


def run_agent(host: str, options: Options) -> int:
    """Run; the exit status.

    Raises:
        SettingError, PatternError, SourceError: an option cannot be.
        RunFailed: the device or a file is not to be had.
        KeyboardInterrupt: a second signal came.
    """
    level = "error" if options["quiet"] else options["log_level"]
    with logging_as(options["log_format"], level, host, _say) as log:
        try:
            return _run(host, options, log)
        except RunFailed as failed:
            if options["log_format"] == "plain":
                raise
            log.tell("failed", str(failed), level=logging.ERROR)
            return 1


def _run(host: str, options: Options, log: AgentLog) -> int:
    check_paths(options)
    wanted_pace = pace(options)
    metrics_at = metrics_address(options["metrics"])
    pattern = parse_pattern(options["pattern"], options["seed"])
    inbox: SimpleQueue[Message] = SimpleQueue()
    if options["state"] is not None and options["source"].startswith("pid:"):
        raise SettingError("--state: a process lives on while nobody looks; take another source")
    with ExitStack() as stack:
        source = parse_source(options["source"], max_pages=options["max_pages"], synthetic=synthetic(options))
        stack.callback(source.close)
        if options["write_share"] and options["source"].startswith("pid:"):
            raise SettingError("--write-share: the stores of a process are seen, and not drawn")
        policy = policy_settings(options, source)
        devices = find_devices(options["device"])
        policy = dataclasses.replace(policy, nodes=len(devices))
        traces = stack.enter_context(traces_for(options["otlp_endpoint"], host))
        plan = plan_of(options, policy, pattern)
        settings = kept_settings(host, options, plan)
        kept = kept_of(options, settings)
        clients: list[NodeClient] = []
        for device in devices:
            clients.append(open_client(device, options, traces))
            stack.callback(clients[-1].close)
        wanted = region(host, options, source)
        links = [NodeLink(client, wanted, inbox) for client in tell_apart(clients, kept)]
        try:
            machine = Machine.build(plan, source, links)
        except OSError as error:
            raise RunFailed(f"no swap file in {options['swap_dir']}: {error.strerror}") from error
        stack.callback(machine.close)
        collector = AgentCollector()
        served = stack.enter_context(_metrics(collector, metrics_at))
        stack.enter_context(_signals(inbox))
        begin(machine, kept, options, log)
        collector.publish(machine)
        _tell_attached(machine, host, served, log)
        if options["ready_file"] is not None:
            facts = {
                "pid": os.getpid(),
                "metrics_address": served,
                "host": host,
                **_session_facts(machine.attachments[0]),
                "nodes": [_session_facts(node) for node in machine.attachments],
            }
            _write(options["ready_file"], lambda path: write_ready(path, facts))
        note = stack.enter_context(_journal(options["events"]))
        state = options["state"]
        runner = Runner(
            machine,
            inbox,
            wanted_pace,
            log=log,
            publish=collector.publish,
            note=note,
            keep=None if state is None else partial(_keep, state, settings),
        )
        ending = runner.run()
        report = make_report(machine, ending, described(host, options, plan))
        code = exit_code(machine, ending)
        log.tell(
            "ended",
            **(machine.attachments[0].facts if len(devices) == 1 else {}),
            level=logging.ERROR if code else logging.INFO,
            exit_status=code,
            **{name: report[name] for name in _ENDED_WITH},
        )
        if options["log_format"] == "plain" and (code or not options["quiet"]):
            click.echo(summary(report))
        # Last: what was found is said, whatever becomes of the file.
        if options["json"] is not None:
            _write(options["json"], lambda path: write_report(path, report))
        return code


def _tell_attached(machine: Machine, host: str, served: str, log: AgentLog) -> None:
    """A line for each node."""
    for node in machine.attachments:
        client = node.link.client
        at, generation = f"{node.device} by {client.transport}", node.link.generation
        if node.link.session is None:
            # Of a run that goes on: it is tried again and again, and told when it has worked.
            continue
        log.tell(
            "attached",
            f"{host} attached to {at}, generation {generation}; metrics at {served}",
            **node.facts,
            transport=client.transport,
            region_bytes=node.logical_bytes,
            metrics=served,
        )


def _session_facts(node: Attachment) -> dict[str, Any]:
    session = node.link.session
    return {
        "session": session.session if session is not None else "",
        "generation": node.link.generation,
        "device": node.device,
    }


@contextmanager
def _metrics(collector: AgentCollector, address: tuple[str, int] | None) -> Iterator[str]:
    if address is None:
        yield "off"
        return
    try:
        served, server, thread = serve_metrics(collector, *address)
    except OSError as error:
        raise RunFailed(f"no metrics at {address[0]}:{address[1]}: {error.strerror}") from error
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _journal(path: Path | None) -> Iterator[Note]:
    """Where the run notes events; nowhere without a path."""
    if path is None:
        yield _unnoted
        return
    try:
        journal = Journal(path)
    except OSError as error:
        raise RunFailed(f"{path} cannot be written: {error.strerror}") from error
    with closing(journal):
        yield journal.note


@contextmanager
def _signals(inbox: SimpleQueue[Message]) -> Iterator[None]:
    """What is asked of the main loop from outside.

    The first SIGTERM or SIGINT asks it to stop; the second one ends the run at once. SIGUSR1 lets the host's
    programs stand still, SIGUSR2 lets them go on.
    """
    heard = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        if heard:
            raise KeyboardInterrupt
        heard = True
        inbox.put(Stop(signal.Signals(number).name.lower()))

    def pause(number: int, _frame: FrameType | None) -> None:
        inbox.put(Pause(stand_still=number == signal.SIGUSR1))

    handlers = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGUSR1: pause,
        signal.SIGUSR2: pause,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except OSError as error:
        raise RunFailed(f"{path} cannot be written: {error.strerror}") from error


def _keep(path: Path, settings: dict[str, Any], machine: Machine) -> None:
    try:
        write_state(path, machine, settings)
    except OSError as error:
        raise OSError(
            f"--state: {path} cannot be written: {error.strerror}; the region is given back"
        ) from error


def _say(text: str) -> None:
    click.echo(text, err=True)


def _unnoted(_wall_time_ns: int, _event: str, _node: int) -> None:
    """For runs without --events."""
