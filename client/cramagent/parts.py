"""From the options of `cram-agent run` to the parts that they describe."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, TypedDict

from cramagent.machine import Plan
from cramagent.node_client import Region
from cramagent.options import TOKEN_VARIABLE
from cramagent.pace import Pace
from cramagent.policy.settings import (
    LEAST_DRAM_PAGES,
    PAGE_BYTES,
    Admission,
    Budget,
    Mapping,
    OnBusError,
    Placement,
    PolicySettings,
    SettingError,
    Writeback,
)
from cramagent.sources import Synthetic
from cramwire.channel import ClientCredentials

if TYPE_CHECKING:
    from pathlib import Path

    from cramagent.log import LogForm
    from cramagent.options import Amount
    from cramagent.patterns import Pattern
    from cramagent.roads import Transport
    from cramagent.sources import Source


class Options(TypedDict):
    """What `cram-agent run` was told; sizes in bytes, times in ns, `Amount` where a share may be given."""

    device: tuple[str, ...]
    placement: str
    source: str
    dram: Amount
    node: Amount
    guaranteed: int
    limit: int | None
    lease: int | None
    take_over: bool
    device_timeout: int
    end_timeout: int
    transport: Transport
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    tls_name: str | None
    token_file: Path | None
    mapping: str
    budget: int | Budget
    credit_stock: int
    credit_interval: int
    admission: str
    on_bus_error: str
    writeback: str
    close_pressure: int
    open_pressure: int
    low_watermark: int
    high_watermark: int
    watermark_boost: int
    demote_batch: int
    writeback_batch: int
    reap_batch: int
    trim_buffer: int
    fault_around: int
    read_ahead: int
    writable_age: int
    balloon_step: int
    balloon_deflate: int
    balloon_min: int
    zswap: Amount
    swap: int
    swap_dir: Path
    pattern: str
    write_share: float
    seed: int
    rate: int
    batch: int
    interval: int
    duration: int
    accesses: int
    max_pages: int
    pages: int
    zero: float
    incompressible: float
    stores: float
    frees: float
    forks: int
    unnoticed: float
    drift_to: float | None
    drift_intervals: int
    metrics: str
    events: Path | None
    json: Path | None
    ready_file: Path | None
    state: Path | None
    quiet: bool
    log_format: LogForm
    log_level: str
    otlp_endpoint: str | None


def policy_settings(options: Options, source: Source) -> PolicySettings:
    """The policy's dials, for one device.

    Raises:
        SettingError: a value that cannot be.
    """
    budget = options["budget"]
    return PolicySettings(
        dram_pages=_dram_pages(options["dram"], source),
        placement=Placement(options["placement"]),
        mapping=Mapping(options["mapping"]),
        budget=Budget.TOKENS if isinstance(budget, Budget) else Budget.PAGES,
        budget_pages=0 if isinstance(budget, Budget) else budget,
        credit_stock_pages=options["credit_stock"],
        credit_interval_ns=options["credit_interval"],
        admission=Admission(options["admission"]),
        on_bus_error=OnBusError(options["on_bus_error"]),
        writeback=Writeback(options["writeback"]),
        close_pressure=options["close_pressure"],
        open_pressure=options["open_pressure"],
        low_watermark_milli=options["low_watermark"],
        high_watermark_milli=options["high_watermark"],
        watermark_boost_milli=options["watermark_boost"],
        demote_batch_pages=options["demote_batch"],
        writeback_batch_pages=options["writeback_batch"],
        reap_batch_pages=options["reap_batch"],
        trim_buffer_pages=options["trim_buffer"],
        fault_around_pages=options["fault_around"],
        read_ahead_pages=options["read_ahead"],
        writable_age_ns=options["writable_age"],
        balloon_step_bytes=options["balloon_step"],
        balloon_deflate_milli=options["balloon_deflate"],
        balloon_min_pages=options["balloon_min"],
    )


def _dram_pages(dram: Amount, source: Source) -> int:
    """A share of a tiny source is raised to what a host needs; a size is taken at its word."""
    pages = dram.pages(source.pages)
    return max(LEAST_DRAM_PAGES, pages) if dram.percent else pages


def synthetic(options: Options) -> Synthetic:
    """The dials of the seeded source."""
    return Synthetic(
        seed=options["seed"],
        pages=options["pages"],
        zero=options["zero"],
        incompressible=options["incompressible"],
        stores=options["stores"],
        frees=options["frees"],
        forks=options["forks"],
        unnoticed=options["unnoticed"],
        drift_to=options["drift_to"],
        drift_intervals=options["drift_intervals"],
    )


def region(host: str, options: Options, source: Source) -> Region:
    """What to ask each device for.

    Raises:
        SettingError: a region of nothing.
    """
    if options["node"].is_nothing:
        raise SettingError("--node: a region is at least one page (4KiB)")
    return Region(
        host=host,
        logical_bytes=options["node"].pages(source.pages) * PAGE_BYTES,
        guaranteed_bytes=options["guaranteed"],
        limit_bytes=options["limit"],
        lease_ns=options["lease"],
    )


def credentials(options: Options) -> ClientCredentials:
    """What to show the device. The token itself comes from the environment only."""
    return ClientCredentials(
        ca=options["tls_ca"],
        cert=options["tls_cert"],
        key=options["tls_key"],
        server_name=options["tls_name"],
        token_file=options["token_file"],
        token=os.environ.get(TOKEN_VARIABLE),
    )


def pace(options: Options) -> Pace:
    """How fast, and how long."""
    if not options["interval"]:
        raise SettingError("--interval is above 0")
    return Pace(
        interval_ns=options["interval"],
        rate=options["rate"],
        batch_pages=options["batch"],
        duration_ns=options["duration"],
        accesses=options["accesses"],
        patience_ns=options["end_timeout"],
    )


def plan_of(options: Options, policy: PolicySettings, pattern: Pattern) -> Plan:
    """What the machine is built from."""
    return Plan(
        policy=policy,
        zswap_bytes=options["zswap"].pages(policy.dram_pages) * PAGE_BYTES,
        swap_bytes=options["swap"],
        swap_folder=options["swap_dir"],
        pattern=pattern,
        write_share=options["write_share"],
        seed=options["seed"],
    )


def described(host: str, options: Options, plan: Plan) -> dict[str, Any]:
    """What was run, as the report states it."""
    policy = plan.policy
    return {
        "host": host,
        "source": options["source"],
        "seed": options["seed"],
        "pattern": str(plan.pattern),
        "write_share": options["write_share"],
        "rate": options["rate"],
        "device": ",".join(options["device"]),
        "placement": policy.placement.value,
        "mapping": policy.mapping.value,
        "budget": policy.budget.value,
        "budget_pages": policy.budget_pages,
        "admission": policy.admission.value,
        "on_bus_error": policy.on_bus_error.value,
        "writeback": policy.writeback.value,
        "fault_around": policy.fault_around_pages,
        "read_ahead": policy.read_ahead_pages,
    }


def kept_settings(host: str, options: Options, plan: Plan) -> dict[str, Any]:
    """What two runs must have in common for one to go on from the other's state."""
    return {
        "host": host,
        "source": options["source"],
        "source settings": dataclasses.asdict(synthetic(options)),
        "max_pages": options["max_pages"],
        "pattern": str(plan.pattern),
        "write_share": plan.write_share,
        "policy": {name: str(value) for name, value in dataclasses.asdict(plan.policy).items()},
        "zswap_bytes": plan.zswap_bytes,
        "swap_bytes": plan.swap_bytes,
    }


def metrics_address(text: str) -> tuple[str, int] | None:
    """(host, port) of `HOST:PORT`; None for `off`.

    Raises:
        SettingError: neither.
    """
    if text == "off":
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise SettingError(f"--metrics: {text!r} is not HOST:PORT, nor off")
    return host, int(port)


def check_paths(options: Options) -> None:
    """Find out now, not after the run, that a file cannot be written.

    Raises:
        SettingError: its folder is not there.
    """
    for name, path in (
        ("--json", options["json"]),
        ("--ready-file", options["ready_file"]),
        ("--events", options["events"]),
        ("--state", options["state"]),
    ):
        if path is not None and not os.access(path.absolute().parent, os.W_OK):
            raise SettingError(f"{name}: {path} cannot be written")
