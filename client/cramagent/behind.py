"""A call to a device that goes on while the main loop does other things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.clock import Clock

T = TypeVar("T")


class Behind(Generic[T]):
    """One call, made by a task of its own.

    Args:
        clock: gives the task.
        call: the call itself, which waits for the device; runs in the task.
        note: what the main loop is to learn of the answer; called by `finish`.
    """

    def __init__(self, clock: Clock, call: Callable[[], T], note: Callable[[T], None]) -> None:
        self._call = call
        self._note = note
        self._answers: list[T] = []
        self._error: BaseException | None = None
        self._then: Callable[[], None] | None = None
        self._answered = clock.flag()
        clock.lend("behind", self._run)

    @property
    def done(self) -> bool:
        """Whether `finish` would not wait."""
        return self._answered.is_set()

    def finish(self) -> T:
        """Wait for the answer. Called once, by the main loop. What the call raised is raised here."""
        self._answered.wait()
        if self._then is not None:
            self._then()
        if self._error is not None:
            raise self._error
        (answer,) = self._answers
        self._note(answer)
        return answer

    def and_then(self, then: Callable[[], None]) -> None:
        """Have something done once it is finished."""
        self._then = then

    def _run(self) -> None:
        try:
            self._answers.append(self._call())
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the main loop must hear of it
            self._error = error
        finally:
            self._answered.set()
