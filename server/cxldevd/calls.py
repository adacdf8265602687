"""What every call goes through: refusals become statuses, bugs are logged, all are counted and timed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status

from cramwire.refusal import CODES
from cramwire.request_id import message_id, request_id_of
from cxldev.errors import CommandLost, DeviceError, InvalidField
from cxldevd.call_lines import SLOW_NS
from cxldevd.errors import TABLE, DeviceBusy, Unauthenticated, naming_request, status_of
from cxldevd.losses import AnswerLost
from cxldevd.pools import arrived
from cxldevd.waiting import CallerGone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cramwire.otel import Traces
    from cxldev.config import DeviceConfig
    from cxldevd.call_lines import CallLines
    from cxldevd.clock import Clock
    from cxldevd.identity.gate import Gate
    from cxldevd.losses import Losses
    from cxldevd.pools import CountedPool
    from cxldevd.request_metrics import RequestMetrics

    _Handler = grpc.GenericRpcHandler[Any, Any]
else:
    # Generic in its stubs only.
    _Handler = grpc.GenericRpcHandler

_Q = TypeVar("_Q")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as it came. Made where something is to be said of it: most calls need none."""

    operation: str
    context: grpc.ServicerContext
    message: bytes = b""
    """Empty: it was not waited for."""
    request: Any = None
    """The message, taken apart; None: it is none."""

    @property
    def request_id(self) -> str:
        """What the caller named it; else a name made of its bytes."""
        named = request_id_of(self.context.invocation_metadata())
        return named or (message_id(self.message) if self.message else "")


@dataclass(frozen=True, slots=True)
class Guard:
    """What all calls share."""

    config: DeviceConfig
    clock: Clock
    metrics: RequestMetrics
    losses: Losses
    lines: CallLines
    gate: Gate | None = None
    """What callers pass; None: there is nothing to show."""
    traces: Traces | None = None
    """Who is told of calls; None: nobody, and calls do without."""

    def fail(self, asked: Asked, error: Exception) -> None:
        """End a call that cannot be answered; raises, as gRPC wants it."""
        operation, context = asked.operation, asked.context
        if isinstance(error, DecodeError):
            error = InvalidField(f"the request's bytes are no message that {operation} takes")
        elif isinstance(error, CommandLost):
            self.lines.lost(operation, error, asked.request_id, asked.request)
            error = self.losses.happen(error, context)
        status = self.refused(operation, error, asked.request_id, asked.request)
        if status.details:
            context.abort_with_status(rpc_status.to_status(status))
        context.abort(CODES[status.code], status.message)

    def refused(
        self, operation: str, error: Exception, request_id: str, request: Any = None
    ) -> status_pb2.Status:
        """The status that the error has in the table, counted and logged; what has none is a bug.

        `request`: the message, or the session that it is for; None: there is neither.
        """
        if isinstance(error, CallerGone):
            status = status_pb2.Status(code=code_pb2.CANCELLED, message="the caller is gone")
        elif isinstance(error, AnswerLost):
            status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message=str(error))
        elif isinstance(error, DeviceError) and type(error) in TABLE:
            status = status_of(error, self.config)
            self.metrics.refused(type(error))
            self.lines.refused(operation, TABLE[type(error)].name, status.message, request_id, request)
        else:
            self.lines.failed(operation, error, request_id, request)
            said = (
                f"{operation} failed inside the service ({type(error).__name__}); its log has the traceback"
            )
            status = status_pb2.Status(code=code_pb2.INTERNAL, message=said)
        self.metrics.ended(operation, CODES[status.code])
        naming_request(status, request_id)
        return status


class UnaryCall(Generic[_Q, _R]):
    """One method, callable as gRPC calls it. `experimental_thread_pool` is where gRPC runs it."""

    def __init__(
        self,
        operation: str,
        behaviour: Callable[[_Q, grpc.ServicerContext], _R],
        parse: Callable[[bytes], _Q],
        guard: Guard,
        pool: CountedPool,
    ) -> None:
        self._operation = operation
        self._behaviour = behaviour
        self._parse = parse
        self._guard = guard
        self.experimental_thread_pool = pool

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> _R:
        """Answer, or abort with a status."""
        arrived()
        guard, operation = self._guard, self._operation
        began_ns = guard.clock.now_ns()
        request: _Q | None = None
        with guard.metrics.running(operation):
            try:
                # Not by gRPC, which would answer bytes that are no message INTERNAL, without a reason.
                request = self._parse(message)
                if guard.gate is not None:
                    guard.gate.check(request, context)
                answer = self._behaviour(request, context)
            except Exception as error:
                guard.fail(Asked(operation, context, message, request), error)
                raise
            finally:
                wall_ns = guard.clock.now_ns() - began_ns
                guard.metrics.took(operation, wall_ns)
                if wall_ns > SLOW_NS:
                    slow = Asked(operation, context, message, request)
                    guard.lines.slow(operation, wall_ns, slow.request_id, request)
            guard.metrics.ended(operation, grpc.StatusCode.OK)
            return answer


class StreamCall(Generic[_Q, _R]):
    """One method that answers with a stream."""

    def __init__(
        self,
        operation: str,
        behaviour: Callable[[_Q, grpc.ServicerContext], Iterator[_R]],
        parse: Callable[[bytes], _Q],
        guard: Guard,
        pool: CountedPool,
    ) -> None:
        self._operation = operation
        self._behaviour = behaviour
        self._parse = parse
        self._guard = guard
        self.experimental_thread_pool = pool

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> Iterator[_R]:
        """Answer until the stream ends, or abort with a status."""
        guard, operation = self._guard, self._operation
        request: _Q | None = None
        with guard.metrics.running(operation, stream=True):
            try:
                request = self._parse(message)
                if guard.gate is not None:
                    guard.gate.check(request, context)
                yield from self._behaviour(request, context)
            except Exception as error:
                guard.fail(Asked(operation, context, message, request), error)
                raise
            # Streams end by being refused, or because their reader went away.
            guard.metrics.ended(operation, grpc.StatusCode.CANCELLED)


class TracedCall(UnaryCall[_Q, _R]):
    """A method whose calls are told of as spans."""

    def __call__(self, message: bytes, context: grpc.ServicerContext) -> _R:
        """As `UnaryCall`."""
        traces = self._guard.traces
        assert traces is not None, "else calls do without"
        asked = Asked(self._operation, context, message)
        parent = traces.told_by(context.invocation_metadata())
        with traces.answering(self._operation, parent, request=asked.request_id) as span:
            try:
                return super().__call__(message, context)
            except Exception:
                ended: Any = context  # the stubs know of neither of these
                said = str(ended.details() or b"", "utf-8", "replace")
                traces.failed(span, getattr(ended.code(), "name", ""), said)
                raise


class TurnedAway:
    """What answers a call that there is no room for, or that nobody known makes.

    For gRPC it takes a stream of requests, so that its thread need not wait for one: who opens calls
    and sends nothing on them holds up threads that wait for requests, and shall not hold up this.
    """

    def __init__(self, operation: str, guard: Guard, why: DeviceError, pool: CountedPool) -> None:
        self._operation = operation
        self._guard = guard
        self._why = why
        self.experimental_thread_pool = pool

    def __call__(self, _requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        """Abort."""
        self._guard.fail(Asked(self._operation, context), self._why)


class Service(_Handler):
    """One service's methods by name.

    gRPC asks `service` for a method as soon as its call arrives, before it waits for a thread:
    this is where a call beyond `max_queued` of its pool is turned away, on a thread that never waits.
    """

    def __init__(
        self, name: str, guard: Guard, control: CountedPool, turning_away: CountedPool, max_queued: int
    ) -> None:
        self.name = name
        self._guard = guard
        self._control = control
        self._turning_away = turning_away
        self._max_queued = max_queued
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._queued_in: dict[str, CountedPool] = {}
        self._stay_open: dict[str, int] = {}
        """Calls that run for long, and are none that wait."""
        self._operations: dict[str, str] = {}

    @property
    def methods(self) -> frozenset[str]:
        """Names of the methods that are served."""
        return frozenset(path.rpartition("/")[2] for path in self._methods)

    def unary(
        self,
        method: str,
        behaviour: Callable[[_Q, grpc.ServicerContext], _R],
        parse: Callable[[bytes], _Q],
        serialize: Callable[[_R], bytes],
        pool: CountedPool | None = None,
    ) -> None:
        """Serve a method, on the control calls' pool if it is given none."""
        path = f"/{self.name}/{method}"
        operation = behaviour.__name__
        self._guard.metrics.knows(operation)
        self._queued_in[path] = pool = pool or self._control
        kind = UnaryCall if self._guard.traces is None else TracedCall
        call = kind(operation, behaviour, parse, self._guard, pool)
        self._methods[path] = grpc.unary_unary_rpc_method_handler(call, None, serialize)
        self._operations[path] = operation

    def stream(
        self,
        method: str,
        behaviour: Callable[[_Q, grpc.ServicerContext], Iterator[_R]],
        parse: Callable[[bytes], _Q],
        serialize: Callable[[_R], bytes],
        pool: CountedPool,
    ) -> None:
        """Serve a method that answers with a stream."""
        operation = behaviour.__name__
        self._guard.metrics.knows(operation, stream=True)
        call = StreamCall(operation, behaviour, parse, self._guard, pool)
        path = f"/{self.name}/{method}"
        self._methods[path] = grpc.unary_stream_rpc_method_handler(call, None, serialize)
        self._operations[path] = operation

    def exchange(self, method: str, operation: str, call: Any, pool: CountedPool, most_open: int) -> None:
        """Serve a method that takes a stream and answers with one, of messages as they are."""
        self._guard.metrics.knows(operation, stream=True)
        path = f"/{self.name}/{method}"
        self._queued_in[path] = pool
        self._stay_open[path] = most_open
        self._methods[path] = grpc.stream_stream_rpc_method_handler(call)
        self._operations[path] = operation

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method of a call that has just arrived; None if it is not of this service."""
        path = handler_call_details.method
        if path not in self._methods:
            return None
        gate = self._guard.gate
        if gate is not None:
            try:
                gate.callers.check_early(handler_call_details.invocation_metadata)
            except Unauthenticated as error:
                return self._turn_away(path, error)
        pool = self._queued_in.get(path)
        if pool is not None and pool.pending >= self._max_queued + self._stay_open.get(path, 0):
            busy = DeviceBusy(f"{self._max_queued} calls are queued already; try again")
            return self._turn_away(path, busy)
        return self._methods[path]

    def _turn_away(self, path: str, why: DeviceError) -> grpc.RpcMethodHandler[Any, Any]:
        away = TurnedAway(self._operations[path], self._guard, why, self._turning_away)
        return grpc.stream_unary_rpc_method_handler(away)
