"""What numbers of the metrics mean, in words and colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cramlab.dashboards.alerts import Alerts
    from cramlab.dashboards.panels import Words


def watermarks(alerts: Alerts) -> Words:
    """`cxldev_watermark_level`."""
    low = alerts.mark("CxlDeviceWatermarkLow", "cxldev_watermark_level")
    critical = alerts.mark("CxlDeviceWatermarkCritical", "cxldev_watermark_level")
    words = {1: ("above high", "green"), 2: ("high", "green"), 3: ("medium", "yellow")}
    return words | {int(low.bound): ("low", low.colour), int(critical.bound): ("critical", critical.colour)}


def takes_writes(alerts: Alerts) -> Words:
    """`cxldev_no_more_writes`."""
    colour = alerts.mark("CxlDeviceNoMoreWrites", "cxldev_no_more_writes").colour
    return {0: ("takes writes", "green"), 1: ("no more writes", colour)}


def online(alerts: Alerts) -> Words:
    """`cram_node_online`."""
    return {0: ("offline", alerts.mark("CramNodeOffline", "cram_node_online").colour), 1: ("online", "green")}


OPEN: Words = {0: ("closed", "orange"), 1: ("open", "green")}
"""`cram_node_open`."""

FIRING: Words = {1: ("firing", "red")}
"""`ALERTS`."""
