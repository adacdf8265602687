"""The commands in a message of an open call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cramwire import transfer_messages
from cramwire.transport import COMMANDS_PER_MESSAGE
from cxldev.errors import DeviceError, InvalidField, TooMany

if TYPE_CHECKING:
    from cramwire.page_messages import Buffer
    from cramwire.transfer_messages import Taken

OPERATION: Final = "transfer"
_UNKNOWN: Final = "the message holds no command that this device knows: write, read or trim"
_MIXED: Final = "the message holds one command and several others: put it among them"


class TransferCommand(NamedTuple):
    """One command of a message."""

    message: Buffer
    """As one of its own."""
    taken: Taken | DeviceError
    """What it asks for, or why that is nothing."""

    @property
    def operation(self) -> str:
        """What it is counted as."""
        return OPERATION if isinstance(self.taken, DeviceError) else self.taken[0]

    @property
    def request(self) -> Any:
        """None: it asks for nothing."""
        return None if isinstance(self.taken, DeviceError) else self.taken[1]


def commands_of(message: bytes) -> list[TransferCommand]:
    """All that a message asks for. It is refused as a whole where it asks for too much.

    Raises:
        DecodeError: it, or one of them, is no message.
    """
    several = transfer_messages.take_commands(message)
    if several is None:
        return [TransferCommand(message, InvalidField(_MIXED))]
    if len(several) > COMMANDS_PER_MESSAGE:
        why = f"{len(several)} commands in one message; {COMMANDS_PER_MESSAGE} at most: split it"
        return [TransferCommand(message, TooMany(why))]
    return [
        TransferCommand(one, transfer_messages.take_command(one) or InvalidField(_UNKNOWN)) for one in several
    ]
