"""What numbers of the metrics mean, in words and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cramlab.dashboards.alerts import Alerts, Mark
    from cramlab.dashboards.panels import Words


def watermark_marks(alerts: Alerts) -> tuple[Mark, Mark]:
    """The alerts on `cxldev_watermark_level`: low, critical."""
    return (
        alerts.mark("CxlDeviceWatermarkLow", "cxldev_watermark_level"),
        alerts.mark("CxlDeviceWatermarkCritical", "cxldev_watermark_level"),
    )


def no_more_writes_mark(alerts: Alerts) -> Mark:
    """The alert on `cxldev_no_more_writes`."""
    return alerts.mark("CxlDeviceNoMoreWrites", "cxldev_no_more_writes")


def offline_mark(alerts: Alerts) -> Mark:
    """The alert on `cram_node_online`."""
    return alerts.mark("CramNodeOffline", "cram_node_online")


def watermarks(alerts: Alerts) -> Words:
    """`cxldev_watermark_level`."""
    low, critical = watermark_marks(alerts)
    words = {1: ("above high", "green"), 2: ("high", "green"), 3: ("medium", "yellow")}
    return words | {int(low.bound): ("low", low.colour), int(critical.bound): ("critical", critical.colour)}


def takes_writes(alerts: Alerts) -> Words:
    """`cxldev_no_more_writes`."""
    return {0: ("takes writes", "green"), 1: ("no more writes", no_more_writes_mark(alerts).colour)}


def online(alerts: Alerts) -> Words:
    """`cram_node_online`."""
    return {0: ("offline", offline_mark(alerts).colour), 1: ("online", "green")}


OPEN: Words = {0: ("closed", "orange"), 1: ("open", "green")}
"""`cram_node_open`."""

FIRING: Words = {1: ("firing", "red")}
"""`ALERTS`."""
