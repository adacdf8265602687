"""The file of a saved state. Every byte of it is covered by a checksum: damage is found before it is used.

    magic | columns, one behind the other | the media's bytes | index, JSON | index length | checksum | magic

The index names every section with its place, length and checksum (128 bits of xxh3), and holds the facts.
The sections lie gapless between the first magic and the index, and the last magic ends the file: a file
that was cut short, or has more behind it, is no state. Numbers are little-endian.
"""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from xxhash import xxh3_128

from cxldev.saved_state import SavedState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import BinaryIO

    from cxldev.saved_state import Snapshot

MAGIC: Final = b"cxldevd state\0\0\1"
_END: Final = struct.Struct("<Q16s16s")
"""Index length, its checksum, the magic again."""
_PIECE_BYTES: Final = 8 << 20
"""Written and read at one time: large enough for a disk, small enough to stop in between."""
_MEDIA: Final = "media"


class StateDamaged(Exception):
    """Not a state that was written whole. One line that says what is wrong with it."""


def write_state(
    file: BinaryIO, snapshot: Snapshot, facts: dict[str, Any], still_good: Callable[[], None]
) -> int:
    """Write a snapshot that is gathered. Returns the file's length in bytes.

    Args:
        file: empty, without a buffer.
        snapshot: all its steps are done.
        facts: what else is to be kept beside the device's.
        still_good: called between pieces; what it raises ends the writing.

    Raises:
        OSError: the file cannot be written.
    """
    state = snapshot.state()
    sections: list[dict[str, Any]] = []
    _write(file, MAGIC)
    position = len(MAGIC)
    for name, gathered in state.columns.items():
        column = np.ascontiguousarray(gathered, gathered.dtype.newbyteorder("<"))
        length, checksum = _write_pieces(
            file, [column.view(np.uint8).data] if len(column) else [], still_good
        )
        sections.append(_section(name, column.dtype.str, position, length, checksum))
        position += length
    length, checksum = _write_pieces(file, snapshot.media(), still_good)
    assert length == state.media_bytes, (length, state.media_bytes)
    sections.append(_section(_MEDIA, "|u1", position, length, checksum))
    position += length
    index = json.dumps({"service": facts, "device": dict(state.facts), "sections": sections}).encode()
    _write(file, index + _END.pack(len(index), xxh3_128(index).digest(), MAGIC))
    return position + len(index) + _END.size


class StateFile:
    """A state that was written whole. The index and the columns are read and checked when it is opened."""

    def __init__(self, path: Path) -> None:
        """Open and check; the media's bytes are left to `read_media`.

        Raises:
            FileNotFoundError: there is none.
            StateDamaged: it is not as it was written.
            OSError: it cannot be read.
        """
        self._file = path.open("rb", buffering=0)
        try:
            index = self._read_index()
            self.facts: dict[str, Any] = index["service"]
            self._media = index["sections"].pop()
            columns = {section["name"]: self._read_column(section) for section in index["sections"]}
            self.state = SavedState(index["device"], columns, self._media["bytes"])
        except BaseException:
            self._file.close()
            raise

    def read_media(self, memory: memoryview) -> None:
        """Fill memory with the media's bytes. Raises StateDamaged, OSError."""
        self._read_into(memory, self._media)

    def close(self) -> None:
        """It is not read any more."""
        self._file.close()

    def _read_index(self) -> dict[str, Any]:
        length = os.fstat(self._file.fileno()).st_size
        if length < len(MAGIC) + _END.size:
            raise StateDamaged(f"it has {length} bytes: it was cut short")
        if self._read_at(0, len(MAGIC)) != MAGIC:
            raise StateDamaged("it does not begin as a state of this version does")
        end = length - _END.size
        index_bytes, checksum, magic = _END.unpack(self._read_at(end, _END.size))
        if magic != MAGIC or index_bytes > end - len(MAGIC):
            raise StateDamaged("it does not end as a state does: it was cut short")
        text = self._read_at(end - index_bytes, index_bytes)
        if xxh3_128(text).digest() != checksum:
            raise StateDamaged("its index does not match its checksum")
        index: dict[str, Any] = json.loads(text)
        position = len(MAGIC)
        for section in index["sections"]:
            if section["begin"] != position:
                raise StateDamaged("its sections do not follow one another")
            position += section["bytes"]
        if position != end - index_bytes:
            raise StateDamaged("its sections do not reach its index")
        return index

    def _read_column(self, section: dict[str, Any]) -> np.ndarray[Any, np.dtype[Any]]:
        dtype = np.dtype(section["dtype"])
        column = np.empty(section["bytes"] // dtype.itemsize, dtype)
        if len(column):
            self._read_into(column.view(np.uint8).data, section)
        return column

    def _read_into(self, memory: memoryview, section: dict[str, Any]) -> None:
        checksum = xxh3_128()
        self._file.seek(section["begin"])
        done = 0
        while done < len(memory):
            got = self._file.readinto(memory[done : done + _PIECE_BYTES])
            if not got:
                raise StateDamaged(f"it ends within {section['name']}")
            checksum.update(memory[done : done + got])
            done += got
        if checksum.hexdigest() != section["checksum"]:
            raise StateDamaged(f"section {section['name']} does not match its checksum")

    def _read_at(self, begin: int, length: int) -> bytes:
        self._file.seek(begin)
        text = b""
        while len(text) < length:
            more = self._file.read(length - len(text))
            if not more:
                raise StateDamaged("it was cut short")
            text += more
        return text


def _section(name: str, dtype: str, begin: int, length: int, checksum: str) -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "begin": begin, "bytes": length, "checksum": checksum}


def _write_pieces(
    file: BinaryIO, parts: Iterable[memoryview], still_good: Callable[[], None]
) -> tuple[int, str]:
    """Write parts behind one another, gathered to large pieces. Their length and checksum.

    What is summed up is what is written: parts are copied first, as free places between the pages of the
    media may change meanwhile.
    """
    checksum, total = xxh3_128(), 0
    piece = memoryview(bytearray(_PIECE_BYTES))
    filled = 0

    def put() -> None:
        nonlocal filled, total
        still_good()
        checksum.update(piece[:filled])
        _write(file, piece[:filled])
        total += filled
        filled = 0

    for part in parts:
        taken = 0
        while taken < len(part):
            count = min(len(part) - taken, _PIECE_BYTES - filled)
            piece[filled : filled + count] = part[taken : taken + count]
            filled += count
            taken += count
            if filled == _PIECE_BYTES:
                put()
    put()
    return total, checksum.hexdigest()


def _write(file: BinaryIO, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
