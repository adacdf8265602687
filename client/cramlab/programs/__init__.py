"""Real programs whose memory agents shadow, run as `python -m cramlab.programs.NAME`."""

from typing import Final

NAMES: Final = ("sqlite_store", "json_documents", "numeric_arrays")
