"""The kinds of panels that the dashboards are made of, each with what an operator needs to read it."""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, statetimeline, timeseries
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cramlab.dashboards.alerts import Mark

Panel: TypeAlias = stats.Panel | timeseries.Panel | statetimeline.Panel | bargauge.Panel | tables.Panel
Words: TypeAlias = "Mapping[int, tuple[str, str]]"
"""Text and colour by value."""

GOOD: Final = "green"
PLAIN: Final = "text"
SOURCE: Final = common_models.DataSourceRef(type_val="prometheus", uid="${datasource}")

COUNT: Final = "short"
BYTES: Final = "bytes"
BYTES_A_SECOND: Final = "binBps"
SECONDS: Final = "s"
DURATION: Final = "dtdurations"
SHARE: Final = "percentunit"
A_SECOND: Final = "cps"

_STAT_HEIGHT: Final = 4
_CHART_HEIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression and what its series are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: an expression whose labels are the table's rows."""

    title: str
    expression: str
    unit: str = COUNT
    marks: Sequence[Mark] = ()
    words: Words | None = None


def stat(
    title: str,
    text: str,
    unit: str,
    *queries: Query,
    marks: Sequence[Mark] = (),
    words: Words | None = None,
    empty: str = "-",
    width: int = 3,
    named: bool = False,
) -> stats.Panel:
    """One big figure, or one for each series; `named`: with its name. Words have colours of their own."""
    panel = stats.Panel()
    _told(panel, title, text, marks, width=width, height=_STAT_HEIGHT)
    panel.unit(unit).no_value(empty).thresholds(_steps(() if words else marks)).mappings(_mappings(words))
    panel.graph_mode(common_models.BigValueGraphMode.NONE)
    panel.color_mode(
        common_models.BigValueColorMode.BACKGROUND
        if marks or words
        else common_models.BigValueColorMode.VALUE
    )
    panel.text_mode(
        common_models.BigValueTextMode.VALUE_AND_NAME if named else common_models.BigValueTextMode.VALUE
    )
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    # What is true now: the newest value of a range may be of long ago, and its series gone.
    for target in _targets(queries, instant=True):
        panel.with_target(target)
    return panel


def lines(
    title: str,
    text: str,
    unit: str,
    *queries: Query,
    marks: Sequence[Mark] = (),
    stacked: bool = False,
    width: int = 12,
    colours: Mapping[str, str] | None = None,
) -> timeseries.Panel:
    """Values over time. `colours`: by a regular expression of the series' names."""
    panel = timeseries.Panel()
    _told(panel, title, text, marks, width=width, height=_CHART_HEIGHT)
    panel.unit(unit).thresholds(_steps(marks)).line_width(1).fill_opacity(40 if stacked else 8)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    if unit in {COUNT, BYTES, A_SECOND, SECONDS, SHARE}:
        panel.axis_soft_min(0)
    panel.stacking(
        common.StackingConfig().mode(
            common_models.StackingMode.NORMAL if stacked else common_models.StackingMode.NONE
        )
    )
    style = (
        common_models.GraphThresholdsStyleMode.DASHED if marks else common_models.GraphThresholdsStyleMode.OFF
    )
    panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(style))
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.TABLE)
        .placement(common_models.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
    panel.tooltip(
        common.VizTooltipOptions()
        .mode(common_models.TooltipDisplayMode.MULTI)
        .sort(common_models.SortOrder.DESCENDING)
    )
    for pattern, colour in (colours or {}).items():
        panel.override_by_regexp(pattern, [_value("color", {"mode": "fixed", "fixedColor": colour})])
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def states(
    title: str, text: str, *queries: Query, words: Words, marks: Sequence[Mark] = (), width: int = 12
) -> statetimeline.Panel:
    """What state something was in, over time."""
    panel = statetimeline.Panel()
    _told(panel, title, text, marks, width=width, height=_CHART_HEIGHT)
    panel.mappings(_mappings(words)).fill_opacity(70).line_width(0).row_height(0.8)
    panel.show_value(common_models.VisibilityMode.AUTO)
    panel.legend(common.VizLegendOptions().show_legend(False))
    for target in _targets(queries):
        panel.with_target(target)
    return panel


def histogram(title: str, text: str, query: Query, width: int = 24) -> bargauge.Panel:
    """The newest values of a histogram's buckets, each for itself, as bars."""
    panel = bargauge.Panel()
    _told(panel, title, text, (), width=width, height=_CHART_HEIGHT)
    panel.unit(COUNT).min(0).display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.orientation(common_models.VizOrientation.VERTICAL)
    panel.color_scheme(
        dashboard.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color("blue")
    ).thresholds(_steps(()))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    for target in _targets([query]):
        # The format that makes buckets of what counts "at most".
        panel.with_target(target.format(PromQueryFormat.HEATMAP))
    return panel


def table(
    title: str, text: str, keys: Mapping[str, tuple[str, str]], columns: Sequence[Column], width: int = 24
) -> tables.Panel:
    """One row for each set of labels.

    Args:
        title: of the panel.
        text: its description.
        keys: by label, the column's title and where a click on it leads ("": nowhere).
        columns: two at least; their expressions have these labels and no others.
        width: of 24.
    """
    panel = tables.Panel()
    marks = [mark for column in columns for mark in column.marks]
    _told(panel, title, text, marks, width=width, height=_CHART_HEIGHT)
    panel.thresholds(_steps(()))
    queries = [Query(column.expression) for column in columns]
    for target in _targets(queries, instant=True):
        panel.with_target(target.format(PromQueryFormat.TABLE))
    values = [f"Value #{ref}" for ref in string.ascii_uppercase[: len(columns)]]
    panel.with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True},
                "indexByName": {name: index for index, name in enumerate([*keys, *values])},
                "renameByName": {label: title for label, (title, _) in keys.items()}
                | {value: column.title for value, column in zip(values, columns, strict=True)},
            },
        )
    )
    for key_title, link in keys.values():
        if link:
            panel.override_by_name(key_title, [_value("links", [{"title": "Open", "url": link}])])
    for column in columns:
        properties = [_value("unit", column.unit)]
        if column.words:
            properties.append(_value("mappings", _mappings(column.words)))
        elif column.marks:
            properties.append(_value("thresholds", _steps(column.marks).build()))
        if column.words or column.marks:
            properties.append(_value("custom.cellOptions", {"type": "color-background", "mode": "basic"}))
        panel.override_by_name(column.title, properties)
    return panel


def _told(panel: Panel, title: str, text: str, marks: Sequence[Mark], *, width: int, height: int) -> None:
    """What every panel has: a title, what to do about it, and the alerts that watch the same."""
    alerts = sorted({mark.alert for mark in marks} - {""})
    if alerts:
        text += "\n\nWatched by " + ", ".join(alerts) + "; see docs/runbook.md."
    panel.title(title).description(text).datasource(SOURCE).span(width).height(height)


def _targets(queries: Sequence[Query], *, instant: bool = False) -> list[prometheus.Dataquery]:
    targets = []
    for ref, query in zip(string.ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().ref_id(ref).datasource(SOURCE).expr(query.expression)
        target.legend_format(query.legend or "__auto")
        targets.append(target.instant() if instant else target.range())
    return targets


def _steps(marks: Sequence[Mark]) -> dashboard.ThresholdsConfig:
    """Green, and from each bound on the colour of its alert; the other way round if low is bad."""
    low = [mark for mark in marks if mark.below]
    steps = [models.Threshold(value=None, color=low[0].colour if low else GOOD if marks else PLAIN)]
    steps += [models.Threshold(value=mark.bound, color=GOOD) for mark in low]
    steps += [models.Threshold(value=mark.bound, color=mark.colour) for mark in marks if not mark.below]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _mappings(words: Words | None) -> list[models.ValueMapping]:
    if not words:
        return []
    options = {
        str(value): models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(words.items())
    }
    return [models.ValueMap(options=options)]


def _value(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)
