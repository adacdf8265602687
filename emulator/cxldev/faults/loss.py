"""A loss: the host hears nothing of its command. The core says so by raising; the service lets it happen."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from cxldev.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cxldev.errors import CommandLost


@dataclass(frozen=True, slots=True)
class Loss:
    """How an answer is lost, and by which fault."""

    error: type[CommandLost]
    fault_id: str

    def happen(self, *, carried_out: bool) -> NoReturn:
        """Raise it.

        Raises:
            CommandLost: always, of the kind that it is.
        """
        done = "was carried out" if carried_out else "was not carried out"
        raise self.error(
            f"fault {self.fault_id}: the command {done}, and no answer arrives",
            fault_id=self.fault_id,
            carried_out=carried_out,
        )


def answered(loss: Loss | None) -> AbstractContextManager[None]:
    """Around what a command does: if its answer is lost, nothing of what came out is told, good or bad.

    Entered, it raises CommandLost at the end, instead of the answer.
    """
    return _KEPT if loss is None else _lost(loss)


@contextmanager
def _lost(loss: Loss) -> Iterator[None]:
    try:
        yield
    except DeviceError:
        loss.happen(carried_out=True)
    loss.happen(carried_out=True)


_KEPT: Final = nullcontext()
"""One for all: it costs no generator."""
