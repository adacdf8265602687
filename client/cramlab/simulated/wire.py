"""The wire between an emulated host and the service: a gRPC channel whose calls take emulated time.

Stubs use it as any channel; the service's own handlers answer, with the messages as they would travel.
A call that is not answered ends at its deadline, and its handler is told that the caller is gone.
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from cramlab.simulated.call import Aborted, CallContext, CallFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cramlab.scenario.model import WireTimes
    from cramlab.simulated.world import Timer, Waiter, World
    from cxldevd.calls import Service

_DATA: Final = "/cramwire.v1.MemoryService/"


class EmulatedChannel(grpc.Channel):
    """A channel to these services, for one host."""

    def __init__(
        self, world: World, services: Sequence[Service], *, peer: str, times: WireTimes, seed: int
    ) -> None:
        self.world: Final = world
        self.peer: Final = peer
        self.times: Final = times
        self._services = {service.name: service for service in services}
        self._random = random.Random(seed)
        self._calls: dict[CallContext, None] = {}
        self.closed = False

    # -- as grpc.Channel has it ---------------------------------------------------------------------

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """A method as stubs call it."""
        return _UnaryMethod(self, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        _registered_method: bool | None = None,
    ) -> Any:
        """A method whose answers are a stream."""
        serialize, deserialize = request_serializer or bytes, response_deserializer or bytes

        def call(request: Any, timeout: float | None = None, **_rest: Any) -> _Stream:
            assert timeout is None, "our streams have no deadline"
            return _Stream(self, method, serialize(request), deserialize)

        return call

    def stream_unary(self, *_args: Any, **_rest: Any) -> Any:
        """Our services have none."""
        raise TypeError("no method of the service takes a stream and gives one answer")

    def stream_stream(self, method: str, *_args: Any, **_rest: Any) -> Any:
        """Not emulated: a message on an open call would travel as long as a call by itself does."""

        def call(*_: Any, **_more: Any) -> Any:
            raise TypeError(f"{method} is not emulated: its commands are calls, too")

        return call  # stubs ask for every method when they are made

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool | None = False) -> None:
        """Nothing ever changes."""

    def unsubscribe(self, callback: Callable[[Any], None]) -> None:
        """Likewise."""

    def close(self) -> None:
        """End all calls."""
        self.closed = True
        for context in list(self._calls):
            context.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- as its methods use it ------------------------------------------------------------------------

    def open(self) -> CallContext:
        """Begin a call. Raises ValueError, as gRPC does, once the channel is closed."""
        if self.closed:
            raise ValueError("Cannot invoke RPC on closed channel!")
        context = CallContext(self.peer, self.drop)
        self._calls[context] = None
        return context

    def drop(self) -> None:
        """The connection ends, and all calls on it; the next call has a new one."""
        for context in list(self._calls):
            context.dropped = True
            context.end()

    def done(self, context: CallContext) -> None:
        """End it."""
        self._calls.pop(context, None)
        context.end()

    def one_way_ns(self, method: str) -> int:
        """How long the next message travels."""
        base_ns = self.times.data_ns if method.startswith(_DATA) else self.times.control_ns
        return base_ns + self.jitter_ns(base_ns)

    def jitter_ns(self, base_ns: int) -> int:
        """What comes on top of a time."""
        return self._random.randrange(base_ns * self.times.jitter_milli // 1000 + 1)

    def handler(self, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """What answers. Raises CallFailed."""
        service = self._services.get(method.split("/")[1])
        found = service.service(_Details(method)) if service is not None else None
        if found is None:
            raise CallFailed(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not served here")
        return found


class _Details(grpc.HandlerCallDetails):
    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


class _UnaryMethod:
    """One method: called, it waits for the answer."""

    def __init__(
        self,
        channel: EmulatedChannel,
        method: str,
        serialize: Callable[[Any], bytes] | None,
        deserialize: Callable[[bytes], Any] | None,
    ) -> None:
        self._channel = channel
        self._method = method
        self._serialize = serialize
        self._deserialize = deserialize

    def __call__(self, request: Any, timeout: float | None = None, **_rest: Any) -> Any:
        """The answer.

        Raises:
            CallFailed: refused, or nothing came in time.
            ValueError: the channel is closed.
        """
        channel, world = self._channel, self._channel.world
        message = request if self._serialize is None else self._serialize(request)
        context, waiter = channel.open(), world.waiter()
        answer: list[bytes | CallFailed] = []

        def serve() -> None:
            if context.is_active():
                said = self._answer(message, context)
                world.sleep(channel.one_way_ns(self._method))
                answer.append(said)
                waiter.wake()

        deadline_ns = None if timeout is None else world.now_ns + round(timeout * 1e9)
        context.add_callback(waiter.wake)
        arrival = world.at(
            world.now_ns + channel.one_way_ns(self._method), lambda: world.spawn(self._method, serve)
        )
        try:
            waiter.wait(deadline_ns)
        finally:
            arrival.cancel()
            channel.done(context)
        if not answer:
            if channel.closed:
                raise CallFailed(grpc.StatusCode.CANCELLED, "Channel closed!")
            if context.dropped:
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        if isinstance(answer[0], CallFailed):
            raise answer[0]
        return answer[0] if self._deserialize is None else self._deserialize(answer[0])

    def future(self, request: Any, timeout: float | None = None, **_rest: Any) -> _Future:
        """As gRPC's; the call is made when the result is asked for."""
        return _Future(lambda: self(request, timeout))

    def _answer(self, message: bytes, context: CallContext) -> bytes | CallFailed:
        try:
            handler = self._channel.handler(self._method)
            behaviour: Any = handler.unary_unary
            response = behaviour(message, context)
        except Aborted as refused:
            return refused.failure
        except CallFailed as unknown:
            return unknown
        serialize: Any = handler.response_serializer
        said: bytes = response if serialize is None else serialize(response)
        return said


class _Future:
    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        """The answer: the call itself keeps the deadline."""
        del timeout
        return self._call()

    def cancel(self) -> bool:
        """Nothing is under way."""
        return False


class _Stream:
    """Answers as they come. Ends by raising."""

    def __init__(
        self, channel: EmulatedChannel, method: str, message: bytes, deserialize: Callable[[bytes], Any]
    ) -> None:
        self._channel = channel
        self._method = method
        self._deserialize = deserialize
        self._context = channel.open()
        self._arrived: deque[bytes | CallFailed] = deque()
        self._waiter: Waiter | None = None
        self._last_ns = 0
        self._cancelled = False
        world = channel.world
        self._begin: Timer = world.at(
            world.now_ns + channel.one_way_ns(method),
            lambda: world.spawn(method, lambda: self._serve(message)),
        )

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """The next answer.

        Raises:
            CallFailed: the stream was refused, or cancelled.
        """
        while not self._arrived:
            if self._cancelled or self._channel.closed:
                raise CallFailed(grpc.StatusCode.CANCELLED, "Locally cancelled by application!")
            if self._context.dropped:
                raise CallFailed(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            self._waiter = self._channel.world.waiter()
            self._waiter.wait()
        item = self._arrived.popleft()
        if isinstance(item, CallFailed):
            raise item
        return self._deserialize(item)

    def cancel(self) -> bool:
        """Listen no more."""
        self._cancelled = True
        self._begin.cancel()
        self._channel.done(self._context)
        self._wake()
        return True

    def _wake(self) -> None:
        if self._waiter is not None:
            self._waiter.wake()

    def _serve(self, message: bytes) -> None:
        self._context.add_callback(self._wake)
        try:
            handler = self._channel.handler(self._method)
            behaviour: Any = handler.unary_stream
            serialize: Any = handler.response_serializer
            for response in behaviour(message, self._context):
                self._send(response if serialize is None else serialize(response))
        except Aborted as refused:
            self._send(refused.failure)
        except CallFailed as unknown:
            self._send(unknown)
        self._channel.done(self._context)

    def _send(self, item: bytes | CallFailed) -> None:
        """Let it arrive after its way, never before what was sent earlier."""
        channel, world = self._channel, self._channel.world
        event_ns = channel.times.event_ns
        self._last_ns = max(self._last_ns, world.now_ns + event_ns + channel.jitter_ns(event_ns))

        def arrive() -> None:
            self._arrived.append(item)
            self._wake()

        world.at(self._last_ns, arrive)
