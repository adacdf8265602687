"""What a run leaves for the next one with the same `--state FILE`: tables, DRAM, tiers, sessions.

The file is good for one resumption. It is written when a run ends in order, after the last byte has moved,
and removed before the next run moves one: a run that is killed leaves none, and its successor takes the
region over, which trims it. So a table is never older than the bytes that it speaks of.

    magic | checksum of the rest (128 bits of xxh3) | pickle

A pickle holds the policy as it is, whatever it is made of. Only our own classes and plain containers are let
in when it is read; what is bound to the process (memory, files, the link, the clock) is not in it, but is
put in its place.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from dataclasses import dataclass
from types import BuiltinMethodType, MethodType, ModuleType
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from xxhash import xxh3_128

from cramagent.node_client import Session
from cramagent.policy.effects import Tier

if TYPE_CHECKING:
    from pathlib import Path

    from cramagent.machine import Machine

_MAGIC: Final = b"cram-agent run\0\2"
_CHECKSUM_BYTES: Final = 16
_PARTS: Final = ("host", "truth", "tally", "losses", "accesses", "workload", "verifier")
"""Of a machine: what is kept whole."""
_NODE_TALLIES: Final = "node tallies"
_LET_IN: Final = {
    "builtins": {"set", "frozenset", "range", "slice", "complex", "bytearray"},
    "collections": {"OrderedDict", "deque", "defaultdict", "Counter"},
    "functools": {"partial"},
    "random": {"Random"},
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.random._pickle": {"__generator_ctor", "__bit_generator_ctor"},
    "numpy.random._pcg64": {"PCG64"},
    "numpy.random.bit_generator": {"SeedSequence", "__pyx_unpickle_SeedSequence"},
}


class StateUnusable(Exception):
    """The file is not one that a run left, or not one that this run can go on from. One line."""


@runtime_checkable
class Keepable(Protocol):
    """A part that hands over what it holds, and takes it up in another process."""

    def keep(self) -> Any:
        """What `recall` needs: plain values, or objects of ours."""
        ...

    def recall(self, kept: Any) -> None:
        """Be as the part was that said this."""
        ...


@dataclass(frozen=True, slots=True)
class KeptState:
    """A run's state, read and checked."""

    settings: dict[str, Any]
    """What must be the same in the run that goes on."""
    sessions: tuple[Session | None, ...]
    """By node; None: it had none when the run ended."""
    _parts: bytes
    _bound: dict[str, Any]
    _logical_bytes: tuple[int, ...]

    def check(self, settings: dict[str, Any]) -> None:
        """Raise StateUnusable if the run that goes on is another one."""
        differing = [name for name, value in settings.items() if self.settings.get(name) != value]
        if differing:
            name = differing[0]
            raise StateUnusable(
                f"it is of a run with {name} {self.settings.get(name)}, not {settings[name]}: go on as it "
                "was, or remove the file to begin anew"
            )

    def recall(self, machine: Machine) -> None:
        """Put everything in its place in a machine that was just built from the same settings."""
        for name, part in _keepables(machine).items():
            part.recall(self._bound[name])
        parts = _Unpickler(io.BytesIO(self._parts), machine).load()
        for name in _PARTS:
            setattr(machine, name, parts[name])
        for node, tally, logical_bytes in zip(
            machine.attachments, parts[_NODE_TALLIES], self._logical_bytes, strict=True
        ):
            node.tally, node.logical_bytes = tally, logical_bytes


def write_state(path: Path, machine: Machine, settings: dict[str, Any]) -> None:
    """Keep a machine that stands still, with its sessions. The file appears whole, and on the disk.

    Raises:
        OSError: it cannot be written.
    """
    sessions = [node.link.session for node in machine.attachments]
    content = {
        "settings": settings,
        "sessions": [
            None if each is None else (each.session, each.generation, each.lease_ns) for each in sessions
        ],
        "parts": _pickled(machine),
        "bound": {name: part.keep() for name, part in _keepables(machine).items()},
        "logical_bytes": [node.logical_bytes for node in machine.attachments],
    }
    body = pickle.dumps(content, pickle.HIGHEST_PROTOCOL)
    scratch = path.with_name(f".{path.name}.part")
    try:
        with open(scratch, "wb", opener=_private) as file:
            file.write(_MAGIC + xxh3_128(body).digest())
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        _sync_folder(path)
    except OSError:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise


def read_state(path: Path) -> KeptState | None:
    """The state that a run left; None: there is none.

    Raises:
        StateUnusable: the file is damaged, or no such state.
        OSError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    begin = len(_MAGIC) + _CHECKSUM_BYTES
    if data[: len(_MAGIC)] != _MAGIC or len(data) < begin:
        raise StateUnusable("it is not a state of cram-agent, or of another version")
    if xxh3_128(memoryview(data)[begin:]).digest() != data[len(_MAGIC) : begin]:
        raise StateUnusable("it does not match its checksum")
    content = _Unpickler(io.BytesIO(data[begin:]), None).load()
    return KeptState(
        content["settings"],
        tuple([None if each is None else Session(*each) for each in content["sessions"]]),
        content["parts"],
        content["bound"],
        tuple(content["logical_bytes"]),
    )


def use_up(path: Path) -> None:
    """The run goes on from it: nobody else may. Raises OSError."""
    path.unlink()
    _sync_folder(path)


def _keepables(machine: Machine) -> dict[str, Keepable]:
    source = machine.source
    assert isinstance(source, Keepable), source
    parts: dict[str, Keepable] = {"dram": machine.dram, "source": source}
    for tier, store in machine.tiers.items():
        assert isinstance(store, Keepable), store
        parts[tier.value] = store
    return parts


def _stand_ins(machine: Machine) -> dict[str, object]:
    """What is bound to the process, by name."""
    return {
        "dram": machine.dram,
        **{f"link {node.number}": node.link for node in machine.attachments},
        "performer": machine.performer,
        "source": machine.source,
        "clock": machine.clock,
        "tiers": machine.tiers,
        **{tier.value: machine.tiers[tier] for tier in Tier},
    }


def _pickled(machine: Machine) -> bytes:
    file = io.BytesIO()
    parts: dict[str, object] = {name: getattr(machine, name) for name in _PARTS}
    parts[_NODE_TALLIES] = [node.tally for node in machine.attachments]
    _Pickler(file, machine).dump(parts)
    return file.getvalue()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(path: Path) -> None:
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Pickler(pickle.Pickler):
    def __init__(self, file: IO[bytes], machine: Machine) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._names = {id(part): name for name, part in _stand_ins(machine).items()}

    def persistent_id(self, obj: object) -> str | None:
        """The name of a part that stays behind."""
        return self._names.get(id(obj))

    def reducer_override(self, obj: Any) -> Any:
        """Bound methods by way of our own function, so that getattr itself need not be let in."""
        if isinstance(obj, MethodType | BuiltinMethodType) and not isinstance(
            obj.__self__, (ModuleType, type(None))
        ):
            return _method, (obj.__self__, obj.__name__)
        return NotImplemented


def _method(owner: object, name: str) -> object:
    if name.startswith("_"):
        raise StateUnusable(f"it names a method {name}, which no state of ours does")
    return getattr(owner, name)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], machine: Machine | None) -> None:
        super().__init__(file)
        self._parts = {} if machine is None else _stand_ins(machine)

    def persistent_load(self, pid: str) -> object:
        """The part of that name in this process."""
        return self._parts[pid]

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Our own classes, and plain containers."""
        if module_name.startswith("cramagent.") or global_name in _LET_IN.get(module_name, ()):
            return super().find_class(module_name, global_name)
        raise StateUnusable(f"it names {module_name}.{global_name}, which no state of ours does")
