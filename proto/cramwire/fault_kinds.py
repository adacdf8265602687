"""Every kind of fault as people write it: its settings, their units, what it may be confined by.

One table for the operator's command line, for scenario files and for the documentation. What a value
means is the business of the wire (`operator.proto`), what is right or wrong the device's; here it is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from cramwire.units import parse_bytes, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

_PAGE_BYTES: Final = 4096
_LARGEST_U64: Final = 2**64 - 1
_HELD: Final = "cleared"
_AT_ONCE: Final = "at once"


@dataclass(frozen=True, slots=True)
class Unit:
    """How a value is written."""

    metavar: str
    parse: Callable[[str], Any]
    """Raises ValueError with a reason for people."""


@dataclass(frozen=True, slots=True)
class Field:
    """One setting of a fault."""

    name: str
    """As people write it: `--name` on the command line, `name` in a scenario."""
    field: str
    """Of the kind's message, or of `FaultScope`."""
    unit: Unit
    help: str
    many: bool = False
    """Whether it can be given several times."""
    required: bool = False
    goes_with: str = ""
    """Key of the field without which this one means nothing."""

    @property
    def key(self) -> str:
        """The name where no dash can be: in Python."""
        return self.name.replace("-", "_")


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One kind of fault."""

    kind: str
    """Its field in `cramwire.v1.Fault`."""
    summary: str
    """One line."""
    until: str
    """How long it lasts."""
    fields: tuple[Field, ...] = ()
    scope: tuple[Field, ...] = ()
    one_of: tuple[str, ...] = ()
    """Keys of which exactly one is given."""
    any_of: tuple[str, ...] = ()
    """Keys of which at least one is given."""
    examples: tuple[str, ...] = ()
    """Arguments of `cramctl inject NAME`."""

    @property
    def at_once(self) -> bool:
        """Whether it is done at once, and not held."""
        return self.until == _AT_ONCE

    @property
    def name(self) -> str:
        """As people write it: `ratio-collapse`."""
        return self.kind.replace("_", "-")


def _above_0(parse: Callable[[str], int]) -> Callable[[str], int]:
    def parse_above_0(text: str) -> int:
        value = parse(text)
        if not value:
            raise ValueError(f"{text!r} is not above 0")
        return value

    return parse_above_0


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not lowest <= value <= highest:
            raise ValueError(f"{value} is not in {lowest}..{highest}")
        return value

    return parse


def _milli(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = round(float(text) * 1000)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is not a number") from None
        if not lowest <= value <= highest:
            raise ValueError(
                f"{text} is not in {lowest / 1000:.10g}..{highest / 1000:.10g}, in steps of 0.001"
            )
        return value

    return parse


def _word(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        word = text.lower().replace("-", "_")
        if word not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return word

    return parse


def parse_dpa(text: str) -> int:
    """`0x1000` or `4096` -> bytes, a whole page's address below 2^64.

    Raises:
        ValueError: it is not.
    """
    try:
        dpa = int(text, 0)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: write 4096 or 0x1000") from None
    if not 0 <= dpa <= _LARGEST_U64 or dpa % _PAGE_BYTES:
        raise ValueError(f"{text!r} is not the address of a page: a multiple of 4096 below 2^64")
    return dpa


def _range(text: str) -> tuple[int, int]:
    start, plus, length = text.partition("+")
    if not plus:
        raise ValueError(f"{text!r} is not a range: write START+LENGTH, as 0x10000+64KiB")
    return parse_dpa(start), parse_bytes(length)


def _switch(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _name(text: str) -> str:
    if not text:
        raise ValueError("a name is not empty")
    return text


DATA: Final = ("write", "read", "trim", "flush")
CONTROL: Final = ("identify", "attach", "renew", "resize", "detach", "telemetry", "credits", "watch")
"""Commands of a host, by their names in the wire's `Operation`."""
EVENTS: Final = (
    "watermark_crossed",
    "no_more_writes_entered",
    "no_more_writes_left",
    "poison_found",
    "region_attached",
    "region_detached",
    "region_resized",
    "device_reset",
)
"""What hosts are told, by the wire's names in `Event.kind`."""
TROUBLES: Final = ("lost", "late", "duplicated", "reordered")

SIZE: Final = Unit("SIZE", _above_0(parse_bytes))
TIME: Final = Unit("TIME", _above_0(parse_duration))
SHARE: Final = Unit("SHARE", _milli(1, 1000))
RATIO: Final = Unit("RATIO", _milli(1000, 2**32 - 1))
COUNT: Final = Unit("N", _number(1, _LARGEST_U64))
FEW: Final = Unit("N", _number(1, 2**32 - 1))
SEED: Final = Unit("N", _number(0, _LARGEST_U64))
DPA: Final = Unit("DPA", parse_dpa)
RANGE: Final = Unit("START+LENGTH", _range)
HOST: Final = Unit("HOST", _name)
EVENT: Final = Unit("EVENT", _word(*EVENTS))
TROUBLE: Final = Unit("|".join(TROUBLES), _word(*TROUBLES))
SWITCH: Final = Unit("", _switch)
"""On the command line: there or not. In a scenario: true or false."""

_ONLY_HOST: Final = Field("only-host", "host", HOST, "Only commands of this host.")
_RANGE: Final = Field("range", "range", RANGE, "Only where pages lie in this range of addresses.")


def _only(*commands: str) -> Field:
    return Field(
        "only",
        "operations",
        Unit("COMMAND", _word(*commands)),
        f"Only these commands; again for more: {', '.join(commands)}.",
        many=True,
    )


_OF_COMMANDS: Final = Field(
    "of", "share_milli", SHARE, "Only this share of commands, above 0 to 1, drawn with the seed."
)
_COUNT: Final = Field("count", "count", COUNT, "Cleared after so many firings.")
_FOR: Final = Field("for", "duration_ns", TIME, "Cleared so long after it was armed.")
_SEED: Final = Field("seed", "seed", SEED, "Makes what is drawn repeatable. Default: 0.")

_BOUNDS: Final = (_COUNT, _FOR)
_MEETS: Final = (_ONLY_HOST, _OF_COMMANDS, *_BOUNDS, _SEED)
_MEETS_EVENTS: Final = (
    replace(_ONLY_HOST, help="Only events on their way to this host."),
    replace(_OF_COMMANDS, help="Only this share of deliveries, above 0 to 1, drawn with the seed."),
    *_BOUNDS,
    _SEED,
)
_MEETS_PAGES: Final = (_ONLY_HOST, _RANGE, _OF_COMMANDS, *_BOUNDS, _SEED)
_MEETS_ALL: Final = (_ONLY_HOST, _RANGE, _only(*DATA, *CONTROL), _OF_COMMANDS, *_BOUNDS, _SEED)
_MEETS_DATA: Final = (_ONLY_HOST, _RANGE, _only(*DATA), _OF_COMMANDS, *_BOUNDS, _SEED)
_MEETS_CONTROL: Final = (_ONLY_HOST, _only(*CONTROL), _OF_COMMANDS, *_BOUNDS, _SEED)

_PAGES: Final = (
    Field("host", "host", HOST, "Host whose region holds the pages.", required=True),
    Field("dpa", "dpas", DPA, "A page's address; again for more pages.", many=True),
    Field("random", "random_pages", FEW, "So many pages instead, drawn with the seed."),
)
_DELAY_HELP: Final = "How long. Default: until the fault is cleared."
_CARRIED_OUT: Final = Field(
    "carried-out",
    "carried_out",
    SWITCH,
    "Do what the command asks for all the same; only the answer is lost.",
)
KINDS: Final[dict[str, FaultKind]] = {
    one.kind: one
    for one in (
        FaultKind(
            "exhaustion",
            "Hold media back, so that the device runs out. What is not free now is taken as it becomes free.",
            _HELD,
            fields=(
                Field("bytes", "bytes", SIZE, "Media to hold back, as 512MiB."),
                Field("share", "share_milli", SHARE, "Share of all media to hold back, above 0 to 1."),
                Field("ramp", "ramp_ns", TIME, "Little by little over this time, not at once."),
            ),
            scope=_BOUNDS,
            one_of=("bytes", "share"),
            examples=("--bytes 48MiB", "--share 0.9 --ramp 10s"),
        ),
        FaultKind(
            "ratio_collapse",
            "Make pages written from now on take no less media than a ratio gives.",
            _HELD,
            fields=(
                Field(
                    "ratio",
                    "ratio_milli",
                    RATIO,
                    "No page compresses better than this, as 1.2.",
                    required=True,
                ),
            ),
            scope=_MEETS_PAGES,
            examples=("--ratio 1.2", "--ratio 1 --only-host host-a --of 0.5 --seed 7"),
        ),
        FaultKind(
            "read_only_media",
            "Refuse writes; reads and TRIMs go on.",
            _HELD,
            scope=_MEETS_PAGES,
            examples=("", "--range 0x100000+1MiB"),
        ),
        FaultKind(
            "staging_overflow",
            "Turn staged pages into latent poison on their way to the media.",
            _HELD,
            scope=_MEETS_PAGES,
            examples=("--count 8",),
        ),
        FaultKind(
            "stuck_trim",
            "Give the media of trimmed pages back late, or not until this is cleared.",
            _HELD,
            fields=(Field("delay", "delay_ns", TIME, _DELAY_HELP),),
            scope=_MEETS_PAGES,
            examples=("", "--delay 500ms --only-host host-a"),
        ),
        FaultKind(
            "flush_hang",
            "Answer FLUSHes late, or not until this is cleared.",
            _HELD,
            fields=(Field("delay", "delay_ns", TIME, _DELAY_HELP),),
            scope=_MEETS,
            examples=("--count 1", "--delay 2s"),
        ),
        FaultKind(
            "latency",
            "Make data commands slower: by a fixed time, by chance, and some of them by very much.",
            _HELD,
            fields=(
                Field("device", "device_ns", TIME, "Device time to add, only reported."),
                Field("wall", "wall_ns", TIME, "Wall time to add, really waited for."),
                Field(
                    "device-jitter", "device_jitter_ns", TIME, "Up to so much device time more, evenly drawn."
                ),
                Field("wall-jitter", "wall_jitter_ns", TIME, "Up to so much wall time more, evenly drawn."),
                Field(
                    "tail", "tail_milli", SHARE, "Share of commands that take a tail on top, above 0 to 1."
                ),
                Field("device-tail", "device_tail_ns", TIME, "Device time of the tail."),
                Field("wall-tail", "wall_tail_ns", TIME, "Wall time of the tail."),
            ),
            scope=_MEETS_DATA,
            any_of=("device", "wall", "device_jitter", "wall_jitter", "device_tail", "wall_tail"),
            examples=("--device 1us --wall 1ms", "--tail 0.01 --wall-tail 50ms --only read"),
        ),
        FaultKind(
            "refused_command",
            "Refuse commands; nothing of them is done, and they can be tried again.",
            _HELD,
            scope=_MEETS_ALL,
            examples=("--only write --of 0.1 --seed 7", "--only renew --count 3"),
        ),
        FaultKind(
            "control_stall",
            "Stall the control path while the data path runs; leases run out meanwhile.",
            _HELD,
            fields=(Field("delay", "delay_ns", TIME, _DELAY_HELP),),
            scope=_MEETS_CONTROL,
            examples=("--for 3s", "--delay 200ms --only telemetry"),
        ),
        FaultKind(
            "unanswered_command",
            "Never answer commands; the host's own deadline ends its waiting.",
            _HELD,
            fields=(_CARRIED_OUT,),
            scope=_MEETS_ALL,
            examples=("--only write --count 1", "--carried-out --only trim --of 0.2"),
        ),
        FaultKind(
            "dropped_connection",
            "Close the host's connection instead of answering.",
            _HELD,
            fields=(_CARRIED_OUT,),
            scope=_MEETS_ALL,
            examples=("--count 1", "--only-host host-a --of 0.01"),
        ),
        FaultKind(
            "event",
            "Lose, delay, repeat or reorder events on their way to hosts.",
            _HELD,
            fields=(
                Field("trouble", "trouble", TROUBLE, "What happens to them.", required=True),
                Field("delay", "delay_ns", TIME, "Of late events: by how much."),
                Field(
                    "copies", "copies", FEW, "Of duplicated events: so many more than the one. Default: 1."
                ),
                Field("behind", "behind", FEW, "Of reordered events: behind so many later ones. Default: 1."),
                Field(
                    "event", "events", EVENT, f"Only these; again for more: {', '.join(EVENTS)}.", many=True
                ),
            ),
            scope=_MEETS_EVENTS,
            examples=("--trouble lost --event watermark_crossed", "--trouble late --delay 500ms"),
        ),
        FaultKind(
            "poison",
            "Lose the bytes of pages that hold data; a later read finds out. A write or a TRIM heals a page.",
            _AT_ONCE,
            fields=(*_PAGES, replace(_SEED, goes_with="random")),
            one_of=("dpa", "random"),
            examples=("--host host-a --random 4 --seed 7", "--host host-a --dpa 0x0 --dpa 0x1000"),
        ),
        FaultKind(
            "bit_flip",
            "Flip bits of pages as the media holds them; the checksum of a later read finds out.",
            _AT_ONCE,
            fields=(*_PAGES, Field("bits", "bits", FEW, "Of each page. Default: 1."), _SEED),
            one_of=("dpa", "random"),
            examples=("--host host-a --random 4 --seed 7", "--host host-a --dpa 0x1000 --bits 8"),
        ),
        FaultKind(
            "reset",
            "Power lost and back: a new generation, nothing kept. Armed faults stay armed.",
            _AT_ONCE,
            examples=("",),
        ),
    )
}
"""By the field's name in `cramwire.v1.Fault`, in the order in which commands meet them: innermost first."""
