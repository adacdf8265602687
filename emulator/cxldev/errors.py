"""Everything the device can refuse, as types. The service turns each into one wire status.

Every message says what was refused, where, how much is left, and what to do next. A call that
raises has changed nothing, except that a refused write keeps the pages it accepted (`WriteRefused`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxldev.telemetry import Telemetry


class DeviceError(Exception):
    """Base of all that a device refuses."""


class ConfigError(DeviceError, ValueError):
    """A device cannot be built from this."""


class CapacityIdentityBroken(DeviceError, AssertionError):
    """The books do not add up: a bug of the device, never the caller's."""


# -- requests that no device could serve ------------------------------------------------------


class InvalidRequest(DeviceError, ValueError):
    """Base of requests that are wrong in themselves."""


class InvalidField(InvalidRequest):
    """A field is absent or has a value that it cannot have."""


class EmptyRequest(InvalidRequest):
    """No page, no range, or a range of no bytes."""


class NotAligned(InvalidRequest):
    """An address or a length is not a multiple of the page size."""


class DataLength(InvalidRequest):
    """The data is not one page for each address."""


class TooMany(InvalidRequest):
    """More pages or ranges than one request may name."""


class Overlapping(InvalidRequest):
    """One page is named twice."""


class OutOfRange(DeviceError):
    """An address lies outside the region."""


# -- sessions ---------------------------------------------------------------------------------


class SessionError(DeviceError):
    """Base of what is wrong with a session."""


class UnknownSession(SessionError):
    """This generation never gave out such a session."""


class StaleGeneration(SessionError):
    """The session belongs to an earlier power-on; its bytes are gone."""


class LeaseExpired(SessionError):
    """The lease ran out and the region was trimmed."""


class SessionEnded(SessionError):
    """The session was detached or taken over."""


class AlreadyAttached(SessionError):
    """The host holds a session already."""


# -- capacity ---------------------------------------------------------------------------------


class LogicalCapacity(DeviceError):
    """Regions would outgrow the logical capacity, or there are too many of them."""


class GuaranteeCapacity(DeviceError):
    """Guarantees would outgrow the physical capacity."""


class RegionInUse(DeviceError):
    """A region cannot shrink below pages that hold data."""


class WriteRefused(DeviceError):
    """A page did not fit. The pages before it are stored; it and the rest keep their old bytes."""

    def __init__(
        self,
        message: str,
        *,
        accepted_pages: int,
        refused_dpa: int,
        device_ns: int,
        telemetry: Telemetry,
        wall_ns: int = 0,
    ) -> None:
        super().__init__(message)
        self.accepted_pages = accepted_pages
        self.refused_dpa = refused_dpa
        self.device_ns = device_ns
        self.wall_ns = wall_ns
        """What the caller has to wait for in truth: only a latency fault asks for it."""
        self.telemetry = telemetry


class NoMoreWrites(WriteRefused):
    """The media has no room."""


class RegionLimit(WriteRefused):
    """The region's own limit has no room."""


class MediaReadOnly(WriteRefused):
    """The media takes no writes there (a fault)."""


# -- what faults do to a command --------------------------------------------------------------


class CommandRefused(DeviceError):
    """A fault refused the command: nothing of it was done."""


class CommandLost(DeviceError):
    """Base of commands whose host is to hear nothing. The service sees to it; no status says this."""

    def __init__(self, message: str, *, fault_id: str, carried_out: bool) -> None:
        super().__init__(message)
        self.fault_id = fault_id
        """Of the fault that keeps the answer."""
        self.carried_out = carried_out
        """Whether the command took effect all the same."""


class Unanswered(CommandLost):
    """No answer arrives; the connection stays."""


class ConnectionDropped(CommandLost):
    """The host's connection ends instead of an answer."""


# -- data -------------------------------------------------------------------------------------


class Poisoned(DeviceError):
    """The bytes of these pages are lost."""

    def __init__(self, message: str, *, dpas: tuple[int, ...], device_ns: int = 0, wall_ns: int = 0) -> None:
        super().__init__(message)
        self.dpas = dpas
        self.device_ns = device_ns
        self.wall_ns = wall_ns
        """What the caller has to wait for in truth: only a latency fault asks for it."""


# -- the operator's side ----------------------------------------------------------------------


class UnknownFault(DeviceError):
    """No fault with this id is armed."""


class UnknownHost(DeviceError):
    """No region of this host exists."""
