"""What surrounds the panels: variables, annotations, links between the dashboards, rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.models import dashboard as models

from cramlab.dashboards.panels import SOURCE
from cramlab.dashboards.queries import DEVICE, HOST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cramlab.dashboards.panels import Panel

TAG: Final = "cramulator"
ALL: Final = models.VariableOption(selected=True, text="All", value="$__all")

DEVICE_LINK: Final = (
    "/d/cramulator-device?var-device=${__value.text}&${datasource:queryparam}&${__url_time_range}"
)
HOST_LINK: Final = "/d/cramulator-agent?var-host=${__value.text}&${datasource:queryparam}&${__url_time_range}"

_HOSTS_OF_DEVICE: Final = f"label_values(cxldev_region_stored_pages{{{DEVICE}}}, host)"
_AGENTS_OF_HOST: Final = f"label_values(cram_host_info{{{HOST}}}, instance)"


def begin(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """An empty dashboard with its data source, and links to the others."""
    frame = dashboard.Dashboard(title).uid(uid).description(description).tags([TAG])
    frame.time("now-30m", "now").refresh("5s").timezone("browser").tooltip(
        models.DashboardCursorSync.CROSSHAIR
    )
    frame.readonly()
    frame.link(
        dashboard.DashboardLink("Dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(False)
        .keep_time(True)
    )
    return frame.with_variable(
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    )


def choose(
    name: str, label: str, query: str, *, several: bool = False, hidden: bool = False
) -> dashboard.QueryVariable:
    """A variable whose values come from the metrics.

    Args:
        name: how expressions call it.
        label: how people call it.
        query: `label_values(...)`.
        several: many can be chosen, and all of them at first.
        hidden: it follows from other variables; always all of its values.
    """
    variable = dashboard.QueryVariable(name).label(label).query(query).definition(query).datasource(SOURCE)
    variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.NATURAL_ASC)
    if several or hidden:
        variable.multi(True).include_all(True).current(ALL)
    if several:
        # Whoever comes while the page is open is shown, too.
        variable.all_value(".+")
    if hidden:
        variable.hide(models.VariableHide.HIDE_VARIABLE)
    return variable


def with_fleet(frame: dashboard.Dashboard) -> dashboard.Dashboard:
    """Variables: any devices, any hosts of theirs."""
    frame.with_variable(
        choose("device", "Device", "label_values(cxldev_physical_capacity_bytes, instance)", several=True)
    )
    frame.with_variable(choose("host", "Host", _HOSTS_OF_DEVICE, several=True))
    return frame.with_variable(choose("agent", "Agent", _AGENTS_OF_HOST, hidden=True))


def with_device(frame: dashboard.Dashboard) -> dashboard.Dashboard:
    """Variables: one device, any hosts of its."""
    frame.with_variable(choose("device", "Device", "label_values(cxldev_physical_capacity_bytes, instance)"))
    frame.with_variable(choose("host", "Host", _HOSTS_OF_DEVICE, several=True))
    return frame.with_variable(choose("agent", "Agent", _AGENTS_OF_HOST, hidden=True))


def with_host(frame: dashboard.Dashboard) -> dashboard.Dashboard:
    """Variables: one host, and the devices that know it."""
    frame.with_variable(choose("host", "Host", "label_values(cram_host_info, host)"))
    frame.with_variable(choose("agent", "Agent", _AGENTS_OF_HOST, hidden=True))
    devices = f"label_values(cxldev_region_stored_pages{{{HOST}}}, instance)"
    return frame.with_variable(choose("device", "Device", devices, hidden=True))


def with_annotations(frame: dashboard.Dashboard) -> dashboard.Dashboard:
    """What happened on purpose, and what made everything on a device worthless."""
    frame.annotation(
        _annotation(
            "Armed faults",
            f"sum by (instance, kind) (cxldev_faults_armed{{{DEVICE}}}) > 0",
            title="fault {{kind}} armed",
            colour="purple",
        )
    )
    frame.annotation(
        _annotation(
            "Generation changes",
            f"count by (instance) (count_over_time(cxldev_generation_info{{{DEVICE}}}[1m])) > 1",
            title="new generation: nothing before this outlived it",
            colour="red",
        )
    )
    return frame.annotation(
        _annotation(
            "Alerts",
            'max by (instance, alertname) (ALERTS{alertstate="firing", instance=~"$device|$agent"})',
            title="{{alertname}}",
            colour="orange",
        ).enable(False)
    )


def fill(frame: dashboard.Dashboard, rows: Sequence[tuple[str, Sequence[Panel]]]) -> dashboard.Dashboard:
    """Panels in rows; a row without a title has no heading. Ids follow the order."""
    number = 0
    for title, panels in rows:
        if title:
            number += 1
            frame.with_row(dashboard.Row(title).id(number))
        for panel in panels:
            number += 1
            frame.with_panel(panel.id(number))
    return frame


def _annotation(name: str, expression: str, *, title: str, colour: str) -> dashboard.AnnotationQuery:
    query = prometheus.Dataquery().ref_id("A").datasource(SOURCE).expr(expression).range()
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(colour)
        .expr(expression)
        .title_format(title)
        .text_format("{{instance}}")
        .target(query)
    )
