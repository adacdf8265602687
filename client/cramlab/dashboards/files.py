"""The dashboards as files for Grafana's provisioning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from cramlab.dashboards import agent, device, experiment, fleet
from cramlab.dashboards.alerts import Alerts

if TYPE_CHECKING:
    from pathlib import Path

    from grafana_foundation_sdk.models.dashboard import Dashboard


def files(rules: Path) -> dict[str, str]:
    """Text by file name, the same at every call.

    Args:
        rules: folder of the Prometheus rules that thresholds come from.

    Raises:
        NoSuchBound: a rule that a panel colours by is not there any more.
    """
    alerts = Alerts(rules)
    return {
        f"{one.__name__.rpartition('.')[2]}.json": _text(one.build(alerts).build())
        for one in (fleet, device, agent, experiment)
    }


def _text(dashboard: Dashboard) -> str:
    told: dict[str, Any] = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    # The SDK puts these into a menu, and its builders cannot be told otherwise: on the page they are seen.
    for one in (*told["links"], *told["annotations"]["list"]):
        del one["placement"]
    # And it gives variables of every kind what those of intervals have.
    for one in told["templating"]["list"]:
        for interval in ("auto", "auto_count", "auto_min"):
            del one[interval]
    return json.dumps(told, indent=1, sort_keys=True) + "\n"
