"""Write the dashboards, and the page that lists them.

python -m cramlab.dashboards deploy docs/grafana.md
"""

from __future__ import annotations

import sys
from pathlib import Path

from cramlab.dashboards.files import files
from cramlab.dashboards.page import with_panels

if __name__ == "__main__":
    deploy, page = Path(sys.argv[1]), Path(sys.argv[2])
    made = files(deploy / "prometheus" / "rules")
    folder = deploy / "grafana" / "dashboards"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in made.items():
        (folder / name).write_text(text)
    page.write_text(with_panels(page.read_text(), made))
