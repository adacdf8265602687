"""Every refusal as a status: one table, from the device's errors to the wire's reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from cramwire.refusal import DOMAIN
from cramwire.v1 import errors_pb2
from cxldev import errors
from cxldevd import to_wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from cxldev.config import DeviceConfig

_PREFIX: Final = "ERROR_REASON_"

POISONED_NAMED: Final = 512
"""Addresses that one POISONED names, at most. A status travels in the trailing metadata, and gRPC takes
no more than 8 KiB of that: beyond it, calls fail at random without any detail. Who reads the
pages that were not named meets the rest."""


class DeviceBusy(errors.DeviceError):
    """Too much is in flight, or the service drains. The service's own refusal, not the device's."""


class Unauthenticated(errors.DeviceError):
    """Nobody that is known calls. The service's own refusal."""


class NotAllowed(errors.DeviceError):
    """Who calls is known, and may not do this. The service's own refusal."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `means` is the metric's help: when the reason's counter moves."""

    code: code_pb2.Code.ValueType
    reason: errors_pb2.ErrorReason.ValueType
    means: str

    @property
    def name(self) -> str:
        """As it stands in ErrorInfo: `NO_MORE_WRITES`."""
        return errors_pb2.ErrorReason.Name(self.reason).removeprefix(_PREFIX)


TABLE: Final[dict[type[errors.DeviceError], Row]] = {
    errors.InvalidField: Row(
        code_pb2.INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_INVALID_FIELD,
        "A field was absent or had a value that it cannot have",
    ),
    errors.EmptyRequest: Row(
        code_pb2.INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_EMPTY_REQUEST,
        "No page or no range was named, or a range was 0 bytes long",
    ),
    errors.NotAligned: Row(
        code_pb2.INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_NOT_ALIGNED,
        "An address or a length was not a multiple of 4096",
    ),
    errors.DataLength: Row(
        code_pb2.INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_DATA_LENGTH,
        "The data was not 4096 bytes for each page named",
    ),
    errors.TooMany: Row(
        code_pb2.INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_TOO_MANY,
        "More pages or ranges were named than one request may name",
    ),
    errors.Overlapping: Row(
        code_pb2.INVALID_ARGUMENT,
        errors_pb2.ERROR_REASON_OVERLAPPING,
        "One page was named twice in a request",
    ),
    errors.OutOfRange: Row(
        code_pb2.OUT_OF_RANGE,
        errors_pb2.ERROR_REASON_OUT_OF_RANGE,
        "An address lay outside the region",
    ),
    errors.UnknownSession: Row(
        code_pb2.NOT_FOUND,
        errors_pb2.ERROR_REASON_UNKNOWN_SESSION,
        "This generation never gave out the session",
    ),
    errors.StaleGeneration: Row(
        code_pb2.FAILED_PRECONDITION,
        errors_pb2.ERROR_REASON_STALE_GENERATION,
        "The session belonged to an earlier power-on",
    ),
    errors.LeaseExpired: Row(
        code_pb2.FAILED_PRECONDITION,
        errors_pb2.ERROR_REASON_LEASE_EXPIRED,
        "The session's lease had run out",
    ),
    errors.SessionEnded: Row(
        code_pb2.FAILED_PRECONDITION,
        errors_pb2.ERROR_REASON_SESSION_ENDED,
        "The session had been detached or taken over",
    ),
    errors.AlreadyAttached: Row(
        code_pb2.ALREADY_EXISTS,
        errors_pb2.ERROR_REASON_ALREADY_ATTACHED,
        "The host held a session already and did not ask to take over",
    ),
    errors.LogicalCapacity: Row(
        code_pb2.RESOURCE_EXHAUSTED,
        errors_pb2.ERROR_REASON_LOGICAL_CAPACITY,
        "Regions would have outgrown the logical capacity or their number",
    ),
    errors.GuaranteeCapacity: Row(
        code_pb2.RESOURCE_EXHAUSTED,
        errors_pb2.ERROR_REASON_GUARANTEE_CAPACITY,
        "Guarantees would have outgrown the physical capacity",
    ),
    errors.RegionInUse: Row(
        code_pb2.FAILED_PRECONDITION,
        errors_pb2.ERROR_REASON_REGION_IN_USE,
        "A region was to shrink below pages that hold data",
    ),
    errors.NoMoreWrites: Row(
        code_pb2.RESOURCE_EXHAUSTED,
        errors_pb2.ERROR_REASON_NO_MORE_WRITES,
        "The media could not hold a page of a write",
    ),
    errors.RegionLimit: Row(
        code_pb2.RESOURCE_EXHAUSTED,
        errors_pb2.ERROR_REASON_REGION_LIMIT,
        "The region's own limit could not hold a page of a write",
    ),
    errors.Poisoned: Row(
        code_pb2.DATA_LOSS,
        errors_pb2.ERROR_REASON_POISONED,
        "A read named pages whose bytes are lost",
    ),
    DeviceBusy: Row(
        code_pb2.UNAVAILABLE,
        errors_pb2.ERROR_REASON_DEVICE_BUSY,
        "Too much was in flight, or the service drained",
    ),
    errors.CommandRefused: Row(
        code_pb2.UNAVAILABLE,
        errors_pb2.ERROR_REASON_COMMAND_REFUSED,
        "An armed fault refused the command",
    ),
    errors.MediaReadOnly: Row(
        code_pb2.FAILED_PRECONDITION,
        errors_pb2.ERROR_REASON_MEDIA_READ_ONLY,
        "An armed fault made the media read-only where a page was to be written",
    ),
    Unauthenticated: Row(
        code_pb2.UNAUTHENTICATED,
        errors_pb2.ERROR_REASON_UNAUTHENTICATED,
        "No credentials that are known were shown",
    ),
    NotAllowed: Row(
        code_pb2.PERMISSION_DENIED,
        errors_pb2.ERROR_REASON_NOT_ALLOWED,
        "A known caller asked for what is another's",
    ),
    errors.UnknownFault: Row(
        code_pb2.NOT_FOUND,
        errors_pb2.ERROR_REASON_UNKNOWN_FAULT,
        "No fault with this id was armed",
    ),
    errors.UnknownHost: Row(
        code_pb2.NOT_FOUND,
        errors_pb2.ERROR_REASON_UNKNOWN_HOST,
        "No region of this host existed",
    ),
}
"""An error that is not here (a broken capacity identity, for one) is a bug, and answered INTERNAL."""


def _config_numbers(*names: str) -> Callable[[DeviceConfig], dict[str, str]]:
    def read(config: DeviceConfig) -> dict[str, str]:
        return {name: str(getattr(config, name)) for name in names}

    return read


_LIMITS_TOLD: Final[dict[type[errors.DeviceError], Callable[[DeviceConfig], dict[str, str]]]] = {
    errors.TooMany: _config_numbers("max_pages_per_request", "max_ranges_per_trim"),
    errors.LogicalCapacity: _config_numbers("logical_capacity_bytes", "max_regions"),
    errors.GuaranteeCapacity: _config_numbers("physical_capacity_bytes"),
}
"""Limits that a caller should know to do better, by error."""


def status_of(error: errors.DeviceError, config: DeviceConfig) -> status_pb2.Status:
    """The whole answer to a refused call: code, message, ErrorInfo, and the reason's own detail.

    Raises:
        KeyError: the error is not in the table.
    """
    row = TABLE[type(error)]
    numbers: dict[str, str] = {}
    if (limits := _LIMITS_TOLD.get(type(error))) is not None:
        numbers = limits(config)
    details: list[Message] = []
    match error:
        case errors.WriteRefused():
            numbers = _write_numbers(error)
            details = [
                errors_pb2.WriteRefused(
                    accepted_pages=error.accepted_pages,
                    refused_dpa=error.refused_dpa,
                    device_ns=error.device_ns,
                    telemetry=to_wire.telemetry(error.telemetry),
                )
            ]
        case errors.Poisoned():
            named = error.dpas[:POISONED_NAMED]
            numbers = {
                "poisoned_pages": str(len(error.dpas)),
                "named_pages": str(len(named)),
                "first_dpa": str(named[0]),
            }
            details = [errors_pb2.PagesPoisoned(dpas=named, device_ns=error.device_ns)]
    info = error_details_pb2.ErrorInfo(reason=row.name, domain=DOMAIN, metadata=numbers)
    return status_pb2.Status(
        code=row.code, message=str(error), details=[_packed(detail) for detail in (info, *details)]
    )


def naming_request(status: status_pb2.Status, request_id: str) -> None:
    """Let a refusal say which call it ends, if the caller gave it an id."""
    if request_id:
        status.details.append(_packed(error_details_pb2.RequestInfo(request_id=request_id)))


def _write_numbers(error: errors.WriteRefused) -> dict[str, str]:
    told = {
        "accepted_pages": error.accepted_pages,
        "refused_dpa": error.refused_dpa,
        "device_ns": error.device_ns,
        "media_used_bytes": error.telemetry.media_used_bytes,
        "media_free_bytes": error.telemetry.media_free_bytes,
    }
    if error.telemetry.region is not None:
        told["region_media_used_bytes"] = error.telemetry.region.media_used_bytes
        told["region_limit_media_bytes"] = error.telemetry.region.limit_media_bytes
    return {name: str(value) for name, value in told.items()}


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
