"""What an agent tells of itself as spans. Nothing here is used where nobody asked for traces."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cramagent.log import log_event, log_often
from cramagent.performer import Performer
from cramagent.policy.effects import NodeLoad, NodeTrim, NodeWrite, Together
from cramagent.policy.settings import SettingError
from cramwire.traces import TracesUnavailable, traces_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cramagent.behind import Behind
    from cramagent.dram import Dram
    from cramagent.performer import NodePort
    from cramagent.policy.effects import Decision, Effect, NodeWritten, Outcome, Tier
    from cramagent.tiers import TierStore
    from cramwire.otel import Traces

T = TypeVar("T")

_PARTS: Final = {
    "reclaim": "demote",
    "fault": "promote",
    "cpu": "access",
    "writeback": "writeback",
    "trim": "trim",
    "poison": "look_into_poison",
}
"""What is decided in the parts of the policy that ask devices for something, by module."""


class TracedPerformer(Performer):
    """Each batch that goes to devices is a span, named for what decided it; calls are its children."""

    def __init__(
        self,
        traces: Traces,
        dram: Dram,
        nodes: Sequence[NodePort],
        tiers: Mapping[Tier, TierStore],
    ) -> None:
        super().__init__(dram, nodes, tiers)
        self._traces = traces

    def _performed(self, decision: Decision[T], effect: Effect) -> Outcome:
        pages = pages_of(effect)
        if not pages:
            return super()._performed(decision, effect)
        with self._traces.span(name_of(decision), pages=pages):
            return super()._performed(decision, effect)

    def _begin_write(self, effect: NodeWrite) -> Behind[NodeWritten] | None:
        """Only demotion waits for a write: its span ends with that."""
        span = self._traces.begin("demote", pages=len(effect.dpas))
        with self._traces.within(span):
            write = super()._begin_write(effect)
        if write is None:
            span.end()
        else:
            write.and_then(span.end)
        return write


def performer_of(
    traces: Traces | None,
    dram: Dram,
    nodes: Sequence[NodePort],
    tiers: Mapping[Tier, TierStore],
) -> Performer:
    """A performer that tells of its batches, if anybody wants to know."""
    if traces is None:
        return Performer(dram, nodes, tiers)
    return TracedPerformer(traces, dram, nodes, tiers)


@contextmanager
def traces_for(endpoint: str | None, host: str) -> Iterator[Traces | None]:
    """The traces of an agent, if they are asked for; what is left of them is sent when this is left.

    Raises:
        SettingError: an option asks for them, and they cannot be had.
    """
    try:
        traces = traces_of("cram-agent", host, endpoint, os.environ, _unsent)
    except TracesUnavailable as error:
        if endpoint is not None:
            raise SettingError(f"--otlp-endpoint: {error}") from error
        # Asked for by the environment alone, they are no reason not to run.
        log_event("traces_unavailable", level=logging.WARNING, reason=str(error))
        traces = None
    try:
        yield traces
    finally:
        if traces is not None:
            traces.close()


def _unsent(reason: str) -> None:
    log_often("traces_not_sent", level=logging.WARNING, facts=partial(dict, reason=reason))


def pages_of(effect: Effect) -> int:
    """How many pages (of a TRIM: ranges) go to devices; 0: nothing does."""
    match effect:
        case NodeWrite() | NodeLoad():
            return len(effect.dpas)
        case NodeTrim():
            return len(effect.ranges)
        case Together():
            return sum(map(pages_of, effect.effects))
    return 0


def name_of(decision: Any) -> str:
    """What is decided: by the innermost of the generators of a decision whose part of the policy is known."""
    name = "decision"
    while isinstance(decision, GeneratorType):
        name = _PARTS.get(PurePath(decision.gi_code.co_filename).stem, name)
        decision = decision.gi_yieldfrom
    return name
