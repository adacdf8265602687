"""A write to the device that goes on while the main loop does other things."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cramagent.clock import Clock
    from cramagent.policy.effects import NodeWritten


class WriteBehind:
    """One write, made by a task of its own.

    Args:
        clock: gives the task.
        write: the call itself, which waits for the device; runs in the task.
        note: what the main loop is to learn of the answer; called by `finish`.
    """

    def __init__(
        self, clock: Clock, write: Callable[[], NodeWritten], note: Callable[[NodeWritten], None]
    ) -> None:
        self._write = write
        self._note = note
        self._answer: NodeWritten | None = None
        self._error: BaseException | None = None
        self._then: Callable[[], None] | None = None
        self._answered = clock.flag()
        clock.lend("write-behind", self._run)

    @property
    def done(self) -> bool:
        """Whether `finish` would not wait."""
        return self._answered.is_set()

    def finish(self) -> NodeWritten:
        """Wait for the answer. Called once, by the main loop. What the write raised is raised here."""
        self._answered.wait()
        if self._then is not None:
            self._then()
        if self._error is not None:
            raise self._error
        assert self._answer is not None, "a write that ended has an answer, or an error"
        self._note(self._answer)
        return self._answer

    def and_then(self, then: Callable[[], None]) -> None:
        """Have something done once it is finished."""
        self._then = then

    def _run(self) -> None:
        try:
            self._answer = self._write()
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the main loop must hear of it
            self._error = error
        finally:
            self._answered.set()
