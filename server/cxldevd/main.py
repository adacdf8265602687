"""`cxldevd`: reads its settings, serves until it is told to end, and ends in order."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import threading
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cramwire.ready import write_ready
from cramwire.traces import TracesUnavailable, traces_of
from cramwire.transport import tune_grpc, tune_malloc
from cramwire.whole_file import remove_file
from cxldevd.garbage import collected, keep_what_there_is
from cxldevd.log import log_event, log_often, logging_to
from cxldevd.options import CONFIG, GroupedCommand, parameters
from cxldevd.settings import Settings, SettingsError
from cxldevd.sources import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cramwire.otel import Traces

_WRONG_SETTINGS, _CANNOT_SERVE = 2, 1


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """The program. Exit status: 0 drained, 1 cannot serve, 2 wrong settings."""
    try:
        command().main(arguments, prog_name="cxldevd", standalone_mode=False)
    except SettingsError as error:
        _fail(str(error), _WRONG_SETTINGS)
    except click.ClickException as error:
        _fail(f"{error.format_message().rstrip('.')}; `cxldevd --help` lists the settings", _WRONG_SETTINGS)
    except click.exceptions.Abort:
        _fail("interrupted", _CANNOT_SERVE)
    sys.exit(0)


def command() -> click.Command:
    """The command line."""
    options = parameters()
    made = GroupedCommand(
        "cxldevd", callback=_run, params=options, context_settings={"help_option_names": ["-h", "--help"]}
    )
    return click.version_option(version("cramulator"), prog_name="cxldevd")(made)


def _run(**given: Any) -> None:
    config = given.pop(CONFIG)
    flags = {name.replace("_", "-"): text for name, text in given.items()}
    settings = resolve(flags, os.environ, config)
    with logging_to(None, settings.log_format, settings.log_level):
        _serve(settings)


def _serve(settings: Settings) -> None:
    # Before grpc is imported: it allocates with what it finds.
    tune_malloc()
    tune_grpc()
    from prometheus_client import disable_created_metrics  # noqa: PLC0415 - grpc comes with what follows

    from cxldevd.service import BindError, CredentialsError, StateError, serve  # noqa: PLC0415 - and so it is imported here

    # A process' start time says the same.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # its author left the types out
    _allow_descriptors()
    if settings.ready_file is not None:
        if not settings.ready_file.parent.is_dir():
            _fail(f"--ready-file: {settings.ready_file.parent} is no folder", _WRONG_SETTINGS)
        _with_ready_file(settings.ready_file, None)  # nobody shall read the one of an earlier run
    told_to_end = threading.Event()
    received, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    threading.Thread(target=_obey, args=(received, told_to_end), name="cxldevd-signals", daemon=True).start()
    try:
        with collected(), serve(settings, traces=_traces(settings)) as service:
            keep_what_there_is()
            metrics = f"http://{service.metrics_address}/metrics" if service.metrics_address else "off"
            click.echo(
                f"cxldevd: hosts {service.address}, operators {service.operator_address}, metrics {metrics}, "
                f"generation {service.generation}" + (f" ({service.origin})" if settings.state else "")
            )
            if settings.ready_file is not None:
                _with_ready_file(
                    settings.ready_file,
                    {
                        "pid": os.getpid(),
                        "address": service.address,
                        "operator_address": service.operator_address,
                        "metrics_address": service.metrics_address,
                        "generation": service.generation,
                    },
                )
            told_to_end.wait()
            if settings.ready_file is not None:
                _with_ready_file(settings.ready_file, None)  # whoever waits for it waits for the next run
    except (BindError, CredentialsError, StateError) as error:
        _fail(str(error), _CANNOT_SERVE)
    except (OSError, MemoryError, OverflowError, ValueError) as error:
        # Memory for the media, threads, descriptors: what the system denies a process that starts. Python's
        # own limits tell of themselves by the last two.
        _fail(f"cannot serve: {error}", _CANNOT_SERVE)


def _traces(settings: Settings) -> Traces | None:
    """Where calls are told of. Asked for by the environment alone, they are no reason not to serve."""
    instance = f"{socket.gethostname()}:{settings.listen}"
    try:
        return traces_of("cxldevd", instance, settings.otlp_endpoint, os.environ, _unsent)
    except TracesUnavailable as error:
        if settings.otlp_endpoint is not None:
            _fail(f"--otlp-endpoint: {error}", _WRONG_SETTINGS)
        log_event("traces_unavailable", level=logging.WARNING, reason=str(error))
        return None


def _unsent(reason: str) -> None:
    log_often("traces_not_sent", level=logging.WARNING, facts=partial(dict, reason=reason))


def _allow_descriptors() -> None:
    """As many as the system lets us have: each connection takes one. The soft limit is made for `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _obey(received: int, told_to_end: threading.Event) -> NoReturn:
    """The first signal asks for the end, the second forces it. `received`: where their numbers come in.

    On a thread of its own: a handler runs on the main thread, and one that comes as that is about to wait
    runs when the wait is over.
    """
    os.read(received, 1)
    told_to_end.set()
    (number,) = os.read(received, 1)
    os.write(2, b"cxldevd: second signal, ending at once\n")
    os._exit(128 + number)


def _with_ready_file(path: Path, facts: dict[str, str | int] | None) -> None:
    """Write the ready file, or, without facts, remove it."""
    try:
        if facts is None:
            remove_file(path)
        else:
            write_ready(path, facts)
    except OSError as error:
        _fail(f"--ready-file: {path}: {error.strerror}", _CANNOT_SERVE)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"cxldevd: {message}", err=True)
    sys.exit(code)
