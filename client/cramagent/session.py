"""One run from its options to its report: open everything, run, close everything."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import click
import grpc

from cramagent.channel import device_target, open_channel
from cramagent.journal import Journal
from cramagent.kept_state import StateUnusable, read_state, use_up, write_state
from cramagent.link import NodeLink
from cramagent.log import logging_as
from cramagent.machine import Machine
from cramagent.messages import Pause, Stop
from cramagent.metrics import AgentCollector, serve_metrics
from cramagent.node_client import NodeClient
from cramagent.parts import (
    Options,
    check_paths,
    credentials,
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
from cramagent.refusals import NodeRefused, NodeSilent
from cramagent.report import exit_code, make_report, summary, write_report
from cramagent.runner import Runner
from cramagent.sources import parse_source
from cramagent.traced import traces_for
from cramwire.channel import CredentialsProblem
from cramwire.ready import write_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from cramagent.log import AgentLog
    from cramagent.messages import Message
    from cramwire.otel import Traces


_HINTS: Final = {
    "ALREADY_ATTACHED": "; --take-over ends that session",
    "LOGICAL_CAPACITY": "; ask for a smaller region with --node (a size, or a share of the source)",
    "UNAUTHENTICATED": "; give --token-file, or set CRAM_AGENT_TOKEN",
    "NOT_ALLOWED": "; give --host the name of the certificate or of the token",
    "GUARANTEE_CAPACITY": "; ask for less with --guaranteed",
}
"""What to change on our command line, by the reason of a refused attach."""

_ENDED_WITH: Final = (
    *("exit_reason", "error", "pages_verified", "pages_mismatched", "pages_lost", "pages_unread"),
    *("demotions", "promotions", "writebacks", "no_more_writes", "bus_errors", "reattaches"),
    *("accesses", "wall_seconds", "detached"),
)
"""What the last line says of the report."""


class RunFailed(Exception):
    """The run cannot begin or go on; the message is one line for people."""


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
        client = open_client(options, stack.enter_context(traces_for(options["otlp_endpoint"], host)))
        stack.callback(client.close)
        link = NodeLink(client, region(host, options, source), inbox)
        plan = plan_of(options, policy, pattern)
        settings = kept_settings(host, options, plan)
        try:
            machine = Machine.build(plan, source, link)
        except OSError as error:
            raise RunFailed(f"no swap file in {options['swap_dir']}: {error.strerror}") from error
        stack.callback(machine.close)
        collector = AgentCollector()
        served = stack.enter_context(_metrics(collector, metrics_at))
        stack.enter_context(_signals(inbox))
        begin(machine, options, settings, log)
        collector.publish(machine)
        at = f"{options['device']} by {client.transport}"
        log.tell(
            "attached",
            f"{host} attached to {at}, generation {link.generation}; metrics at {served}",
            **client.facts,
            transport=client.transport,
            region_bytes=machine.logical_bytes,
            metrics=served,
        )
        if options["ready_file"] is not None:
            session = link.session
            facts: dict[str, str | int] = {
                "pid": os.getpid(),
                "metrics_address": served,
                "host": host,
                "session": session.session if session is not None else "",
                "generation": link.generation,
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
            keep=None if state is None else partial(write_state, state, settings=settings),
        )
        ending = runner.run()
        report = make_report(machine, ending, described(host, options, plan))
        if options["json"] is not None:
            _write(options["json"], lambda path: write_report(path, report))
        code = exit_code(machine, ending)
        log.tell(
            "ended",
            **client.facts,
            level=logging.ERROR if code else logging.INFO,
            exit_status=code,
            **{name: report[name] for name in _ENDED_WITH},
        )
        if options["log_format"] == "plain" and (code or not options["quiet"]):
            click.echo(summary(report))
        return code


def open_client(options: Options, traces: Traces | None = None) -> NodeClient:
    """A channel to the device; nothing is sent yet.

    Raises:
        SettingError: not an address.
    """
    if not options["device_timeout"]:
        raise SettingError("--device-timeout is above 0")
    try:
        device_target(options["device"])
    except ValueError as error:
        raise SettingError(f"--device: {error}") from error
    try:
        channel = open_channel(options["device"], credentials(options))
    except CredentialsProblem as problem:
        raise SettingError(str(problem)) from problem
    return NodeClient(
        options["device"], options["device_timeout"], options["transport"], channel=channel, traces=traces
    )


def begin(machine: Machine, options: Options, settings: dict[str, Any], log: AgentLog) -> None:
    """Get the region; the one of the run before, and all that it held, where `--state` has one.

    Raises:
        RunFailed: the device says no, or nothing; or the state cannot be used.
    """
    path = options["state"]
    if path is None:
        attach(machine, options)
        return
    try:
        kept = read_state(path)
        if kept is None:
            # What a run that was killed left there, nobody knows any more: it is trimmed.
            attach(machine, options, take_over=True)
            return
        kept.check(settings)
        with answered(options):
            telemetry = machine.link.resume(kept.session)
        kept.recall(machine)
        use_up(path)
    except StateUnusable as error:
        raise RunFailed(f"--state: {path} cannot be used: {error}") from error
    except OSError as error:
        raise RunFailed(f"--state: {path}: {error.strerror}") from error
    facts = machine.link.client.facts
    if telemetry is None:
        reason = machine.link.over_reason
        sentence = f"the session of the run before is over ({reason})"
        log.tell("session_not_resumed", sentence, level=logging.WARNING, **facts, reason=reason)
        return
    machine.resumed(telemetry, kept.logical_bytes)
    found = machine.verifier.verify()
    log.tell(
        "session_resumed",
        f"gone on with: {found.compared} pages verified, {found.lost} lost, {found.unread} unread",
        **facts,
        pages_verified=found.compared,
        pages_lost=found.lost,
    )


def attach(machine: Machine, options: Options, *, take_over: bool = False) -> None:
    """Get a new region; `take_over`: whether or not the options say so.

    Raises:
        RunFailed: the device says no, or nothing.
    """
    with answered(options):
        telemetry = machine.link.attach(take_over=take_over or options["take_over"])
    machine.attached(telemetry)


@contextmanager
def answered(options: Options) -> Iterator[None]:
    """Around the first calls: what the device says, or does not, as one line for people.

    Raises:
        RunFailed: instead of a refusal or silence.
    """
    device = options["device"]
    try:
        yield
    except NodeSilent as silent:
        raise RunFailed(f"no device answers at {device}: {silent}") from silent
    except NodeRefused as refused:
        refusal = refused.refusal
        if refusal.code is grpc.StatusCode.UNIMPLEMENTED:
            raise RunFailed(
                f"{device} is no hosts' listener of cxldevd: hosts attach at one address (its --listen), "
                "operators at another"
            ) from refused
        hint = _HINTS.get(refusal.reason, "")
        raise RunFailed(f"the device at {device} refused: {refused}{hint}") from refused


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
def _journal(path: Path | None) -> Iterator[Callable[[int, str], None]]:
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


def _say(text: str) -> None:
    click.echo(text, err=True)


def _unnoted(_wall_time_ns: int, _event: str) -> None:
    """For runs without --events."""
