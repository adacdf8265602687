"""One call over the emulated wire: how it fails, and what its handler knows of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class CallFailed(grpc.RpcError):
    """A call that was refused, or not answered, as gRPC's client tells of it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailing: Sequence[Any] = ()) -> None:
        super().__init__(f"{code.name}: {details}")
        self._code = code
        self._details = details
        self._trailing = tuple(trailing)

    def code(self) -> grpc.StatusCode:
        """The status."""
        return self._code

    def details(self) -> str:
        """The message."""
        return self._details

    def trailing_metadata(self) -> tuple[Any, ...]:
        """What came with it."""
        return self._trailing


class Aborted(Exception):
    """What `abort` raises in a handler; the caller gets `failure`."""

    def __init__(self, failure: CallFailed) -> None:
        super().__init__(str(failure))
        self.failure = failure


class CallContext:
    """The handler's side of one call: what our handlers use of `grpc.ServicerContext`."""

    def __init__(self, peer: str, drop: Callable[[], None]) -> None:
        """`drop` ends the connection that the call came on."""
        self._peer = peer
        self._drop = drop
        self._active = True
        self.dropped = False
        """Its connection ended, and no answer arrives."""
        self._callbacks: list[Callable[[], None]] = []

    def is_active(self) -> bool:
        """Whether somebody still waits."""
        return self._active

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call when it ends. False: it has ended already."""
        if self._active:
            self._callbacks.append(callback)
        return self._active

    def end(self) -> None:
        """Answered, or nobody waits any more."""
        if self._active:
            self._active = False
            for callback in self._callbacks:
                callback()

    def hang_up(self, _why: str) -> None:
        """End the connection, as a fault may ask for."""
        self._drop()

    def cancel(self) -> bool:
        """End it from the handler's side."""
        self.end()
        return True

    def peer(self) -> str:
        """Who calls."""
        return self._peer

    def invocation_metadata(self) -> tuple[()]:
        """Nothing."""
        return ()

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        """Refuse the call."""
        raise Aborted(CallFailed(code, details))

    def abort_with_status(self, status: grpc.Status) -> None:
        """Refuse it with all that is to be told."""
        raise Aborted(CallFailed(status.code, status.details, status.trailing_metadata or ()))
