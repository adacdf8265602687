"""How both ends of the wire are set up: malloc, grpc's threads, message sizes, channel options.

`tune_malloc` and `tune_grpc` must run before grpc is imported, so this file imports neither grpc nor
anything that does.
"""

from __future__ import annotations

import ctypes
import os
from importlib.metadata import PackageNotFoundError, version
from typing import Final

MESSAGE_BYTES: Final = 8 << 20
"""Largest message that either end takes, bytes. 1024 pages and their addresses are 4.2 MB."""

COMMANDS_PER_MESSAGE: Final = 64
"""Of an open call. What a message of several commands saves, one of eight has saved nearly all of."""

FULL_BYTES: Final = 1 << 20
"""A message of several commands that carries so much, or asks for so much, is full."""
TOGETHER_BYTES: Final = FULL_BYTES + FULL_BYTES // 4
"""The most that several commands carry, or their answers: the last one made it full."""

CHANNEL_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # A device that was restarted should be found again within a second, not after two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This one also bounds how long a single attempt may take.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # Two devices on one port would each get half of the calls.
    ("grpc.so_reuseport", 0),
    # A peer that is gone without a word is noticed, and its calls give their threads back.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Who connects and does not say that it speaks HTTP/2, or is not done with TLS by then, is cut off.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A connection without a call is closed; a client that calls again makes another without noticing.
    ("grpc.max_connection_idle_ms", 300_000),
    # Calls on one connection; a client keeps more of them waiting at its own end.
    ("grpc.max_concurrent_streams", 128),
)


def server_options(message_bytes: int, connections: int) -> tuple[tuple[str, int], ...]:
    """Options of a listener. `message_bytes`: the largest it takes; `connections`: at one time."""
    settable = {
        "grpc.max_receive_message_length": message_bytes,
        "grpc.max_allowed_incoming_connections": connections,
    }
    return tuple({**dict(SERVER_OPTIONS), **settable}.items())


# malloc.h of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def tune_malloc() -> bool:
    """Tell glibc to keep large buffers instead of unmapping them after every message.

    Page-sized batches live in buffers above the default mmap threshold, so every message would
    fault in fresh, zeroed memory: measured, that costs two thirds of the read throughput. Threads
    share one heap, or each would keep large buffers of its own: that halves what the service keeps.

    Returns:
        Whether the C library took the settings (musl, for one, has no `mallopt`).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(
        mallopt(option, value) == 1
        for option, value in (
            (_M_MMAP_THRESHOLD, 1 << 30),
            (_M_TRIM_THRESHOLD, 1 << 30),
            (_M_TOP_PAD, 64 << 20),
            (_M_ARENA_MAX, 1),
        )
    )


_EXPERIMENTS: Final = "GRPC_EXPERIMENTS"
_MEASURED: Final = "1.85."
"""Releases of grpcio that have these switches, and where they were measured."""


_VERBOSITY: Final = "GRPC_VERBOSITY"


def tune_grpc() -> bool:
    """Tell grpc to poll its sockets on the threads that wait for them, and to log errors only.

    Unless told, it logs every failed handshake: whoever can connect could fill a log.

    Its event engine, the default, polls on threads of its own and hands each event on: measured, both
    ends together spend 700 us of processor time for an empty call that way, and 450 us without it.

    Returns:
        Whether it was told: not if the environment says something else, nor in a release that may not
        know these switches.
    """
    os.environ.setdefault(_VERBOSITY, "ERROR")
    try:
        known = version("grpcio").startswith(_MEASURED)
    except PackageNotFoundError:
        return False
    wanted = "-event_engine_client,-event_engine_listener"
    return known and os.environ.setdefault(_EXPERIMENTS, wanted) == wanted
