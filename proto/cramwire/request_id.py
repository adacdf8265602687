"""Request ids: one name for one call, the same in the logs of both ends.

Over gRPC a client says it in the metadata `cram-request-id`; refusals bring it back as
`google.rpc.RequestInfo`. Metadata costs a call some 15 us, so the calls that carry pages go without: both
ends make the id of the request's bytes, if ever they need it. On a lane both ends count the commands.
"""

from __future__ import annotations

import re
import secrets
from itertools import count
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64_hexdigest

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUEST_ID_KEY: Final = "cram-request-id"
MOST_CHARS: Final = 64

_ALLOWED: Final = re.compile(rf"[A-Za-z0-9._:-]{{1,{MOST_CHARS}}}")


class RequestIds:
    """Ids of one process: a random prefix, and a number that counts up. Any thread may draw."""

    def __init__(self) -> None:
        self.prefix: Final = secrets.token_hex(4)
        self._numbers = count(1)

    def draw(self) -> str:
        """The next one: `1f2e3d4c-17`."""
        return f"{self.prefix}-{next(self._numbers)}"


def request_id_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """The id in a call's metadata; empty where there is none, or none that may stand in a log."""
    for key, value in metadata:
        if key == REQUEST_ID_KEY:
            return value if isinstance(value, str) and _ALLOWED.fullmatch(value) else ""
    return ""


def message_id(message: bytes | bytearray | memoryview) -> str:
    """The id of a call that was given none. The same call repeated has the same one."""
    return f"bytes:{xxh3_64_hexdigest(message)}"


def lane_name(token: bytes) -> str:
    """What both ends call a lane: by the beginning of its token, which is good for one use only."""
    return f"lane:{token[:4].hex()}"


def command_id(lane: str, number: int) -> str:
    """The id of a lane's command; the first one's number is 1."""
    return f"{lane}-{number}"
