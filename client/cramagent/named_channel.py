"""A channel whose every call has a request id, and whose refusals know theirs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import grpc

from cramwire.page_messages import READ_METHOD, WRITE_METHOD
from cramwire.refusal import Refused, read_refusal
from cramwire.request_id import REQUEST_ID_KEY, RequestIds, message_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from cramwire.otel import Traces

Metadata = tuple[tuple[str, str], ...]

_OF_PAGES: Final = {WRITE_METHOD, READ_METHOD}
_IDS: Final = RequestIds()
"""Of this process."""


class NamedCalls:
    """One method with one answer: as gRPC's, but every call carries an id of its own."""

    def __init__(self, method: str, call: Any) -> None:
        self.__name__ = re.sub(r"\B([A-Z])", r"_\1", method.rpartition("/")[2]).lower()
        """As the device's metrics and logs call it."""
        self._call = call

    def __call__(self, request: Any, timeout: float | None = None, **rest: Any) -> Any:
        """The answer.

        Raises:
            Refused: the device said no, or nothing; with the id.
        """
        name = _IDS.draw()
        try:
            return self._call(request, timeout, metadata=((REQUEST_ID_KEY, name),), **rest)
        except grpc.RpcError as error:
            raise refused(error, name) from error

    def future(self, request: Any, timeout: float | None = None) -> NamedFuture:
        """The call, begun."""
        name = _IDS.draw()
        return NamedFuture(name, self._call.future(request, timeout, metadata=((REQUEST_ID_KEY, name),)))


class TracedCalls(NamedCalls):
    """The same, each call a span which the other end is told of."""

    def __init__(self, method: str, call: Any, traces: Traces) -> None:
        super().__init__(method, call)
        self._traces = traces

    def __call__(self, request: Any, timeout: float | None = None, **rest: Any) -> Any:
        """As `NamedCalls`."""
        name = _IDS.draw()
        with self._traces.asking(self.__name__, request=name):
            metadata = ((REQUEST_ID_KEY, name), *self._traces.metadata())
            try:
                return self._call(request, timeout, metadata=metadata, **rest)
            except grpc.RpcError as error:
                raise refused(error, name) from error

    def future(self, request: Any, timeout: float | None = None) -> NamedFuture:
        """The call, begun; a part of the span of now, as nobody tells when it ends."""
        name = _IDS.draw()
        metadata = ((REQUEST_ID_KEY, name), *self._traces.metadata())
        return NamedFuture(name, self._call.future(request, timeout, metadata=metadata))


class PageCalls:
    """A method whose requests are bytes and carry pages: no metadata, which would cost time at every call."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __call__(self, request: bytes, timeout: float | None = None, **rest: Any) -> Any:
        """The answer. Raises as `NamedCalls` do."""
        try:
            return self._call(request, timeout, **rest)
        except grpc.RpcError as error:
            raise refused(error, message_id(request)) from error

    def future(self, request: bytes, timeout: float | None = None) -> NamedFuture:
        """The call, begun."""
        return NamedFuture(request, self._call.future(request, timeout))


class NamedFuture:
    """A call that was begun."""

    def __init__(self, name: str | bytes, call: Any) -> None:
        """`name`: the id, or the bytes to make it of."""
        self._name = name
        self._call = call
        self.cancel: Final[Callable[[], bool]] = call.cancel

    @property
    def request_id(self) -> str:
        """What both ends' logs call it."""
        return self._name if isinstance(self._name, str) else message_id(self._name)

    def result(self, timeout: float | None = None) -> Any:
        """The answer. Raises as a call does; `grpc.FutureTimeoutError` if it does not come in time."""
        try:
            return self._call.result(timeout)
        except grpc.RpcError as error:
            raise refused(error, self.request_id) from error


def refused(error: grpc.RpcError, request_id: str) -> Refused:
    """What a failed call says, with its id, whether or not the device brought that back."""
    return Refused(replace(read_refusal(error), request_id=request_id))


class NamedChannel(grpc.Channel):
    """A channel around another one."""

    def __init__(self, channel: grpc.Channel, traces: Traces | None = None) -> None:
        """`traces`: who is told of calls; None: nobody."""
        self._channel = channel
        self._traces = traces

    def unary_unary(self, method: str, *args: Any, **rest: Any) -> Any:
        """A method with one answer."""
        call = self._channel.unary_unary(method, *args, **rest)
        if self._traces is not None:
            return TracedCalls(method, call, self._traces)
        # Stubs have serializers for them; their requests are no bytes, and a name costs them little beside.
        pages = method in _OF_PAGES and rest.get("request_serializer", len(args)) is None
        return PageCalls(call) if pages else NamedCalls(method, call)

    def unary_stream(self, method: str, *args: Any, **rest: Any) -> Any:
        """A method that is answered by a stream: the id is of its opening."""
        return self._opening(self._channel.unary_stream(method, *args, **rest))

    def stream_unary(self, method: str, *args: Any, **rest: Any) -> Any:
        """A method that takes a stream, likewise."""
        return self._opening(self._channel.stream_unary(method, *args, **rest))

    def stream_stream(self, method: str, *args: Any, **rest: Any) -> Any:
        """A method with streams both ways, likewise."""
        return self._opening(self._channel.stream_stream(method, *args, **rest))

    def subscribe(self, callback: Callable[[Any], None], try_to_connect: bool = False) -> None:
        """As the channel's."""
        self._channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[Any], None]) -> None:
        """As the channel's."""
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        """As the channel's."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opening(self, call: Any) -> Callable[..., Any]:
        traces = self._traces

        def opened(*args: Any, **rest: Any) -> Any:
            told = () if traces is None else traces.metadata()
            return call(*args, metadata=((REQUEST_ID_KEY, _IDS.draw()), *told), **rest)

        return opened
