"""Random ids: generations and sessions."""

from __future__ import annotations

import random
import secrets


class Ids:
    """Draws ids; from a seed, if one is given, so that a run can be repeated exactly.

    Seeded ids repeat after a restart, so that hosts cannot tell the new power-on from the old one:
    for tests only.
    """

    def __init__(self, seed: int | None = None) -> None:
        self._random: random.Random = secrets.SystemRandom() if seed is None else random.Random(seed)

    def generation(self) -> str:
        """16 hex digits."""
        return f"{self._random.getrandbits(64):016x}"

    def session(self) -> str:
        """32 hex digits: who knows a session may use its region."""
        return f"{self._random.getrandbits(128):032x}"
