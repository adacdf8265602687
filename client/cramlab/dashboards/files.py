"""The dashboards as files for Grafana's provisioning."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from cramlab.dashboards import agent, device, experiment, fleet
from cramlab.dashboards.alerts import Alerts

if TYPE_CHECKING:
    from pathlib import Path


def files(rules: Path) -> dict[str, str]:
    """Text by file name, the same at every call.

    Args:
        rules: folder of the Prometheus rules that thresholds come from.

    Raises:
        NoSuchBound: a rule that a panel colours by is not there any more.
    """
    alerts = Alerts(rules)
    return {
        f"{one.__name__.rpartition('.')[2]}.json": json.dumps(
            one.build(alerts).build(), cls=JSONEncoder, indent=1, sort_keys=True
        )
        + "\n"
        for one in (fleet, device, agent, experiment)
    }
