"""Whether traces are wanted, and where they go. Where they are not, nothing of OpenTelemetry is imported.

They are asked for by an option, or by OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, unless OTEL_SDK_DISABLED is true or OTEL_TRACES_EXPORTER is none.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cramwire.otel import Traces

T = TypeVar("T")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_URL: Final = re.compile(r"https?://[^/\s]+(/\S*)?")


class TracesUnavailable(Exception):
    """Traces are wanted and cannot be had. One line for people."""


def parse_endpoint(text: str) -> str:
    """Where spans are posted: `http://HOST:PORT`, to which `/v1/traces` is added, or a whole URL.

    Raises:
        ValueError: it is none.
    """
    matched = _URL.fullmatch(text)
    if matched is None:
        raise ValueError(f"{text!r} is no OTLP endpoint: write http://HOST:4318")
    return text if (matched[1] or "/") != "/" else f"{text.rstrip('/')}/v1/traces"


def traces_of(
    service: str,
    instance: str,
    endpoint: str | None,
    environment: Mapping[str, str],
    unsent: Callable[[str], None],
) -> Traces | None:
    """Where this process tells of its spans; None: nobody wants to know.

    Args:
        service: what the process is.
        instance: which one.
        endpoint: as `parse_endpoint` made it; None: the environment says.
        environment: `os.environ`.
        unsent: called with what keeps spans from being sent, on a thread of the exporter.

    Raises:
        TracesUnavailable: OpenTelemetry is not installed.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if endpoint is None and (
        environment.get("OTEL_TRACES_EXPORTER", "").lower() == "none"
        or not any(environment.get(name) for name in _ENDPOINTS)
    ):
        return None
    try:
        from cramwire.otel import Traces  # noqa: PLC0415 - it takes a quarter of a second, and may not be there
    except ImportError as error:
        raise TracesUnavailable("traces need more packages: pip install 'cramulator[otel]'") from error
    return Traces.exported(service, instance, endpoint, unsent)


def span_of(traces: Traces | None, name: str) -> AbstractContextManager[object]:
    """What the calls that are made while this is entered are for."""
    return nullcontext() if traces is None else traces.span(name)


def carried(traces: Traces | None, call: Callable[[], T]) -> Callable[[], T]:
    """The same call, to be made by another thread."""
    return call if traces is None else traces.carried(call)
