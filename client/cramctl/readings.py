"""The device read again and again: how it stands, how fast it moves, and whether it still answers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from cramctl.describe import describe_status
from cramctl.forecast import Forecast, forecast
from cramctl.operator import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cramctl.operator import Operator

_RATES: Final = ("written_pages", "read_pages", "trimmed_pages", "refused_pages")
_REMEMBERED: Final = 240


class Readings:
    """The newest reading, and what it is compared with.

    Args:
        operator: where to ask.
        clock: monotonic, s.
    """

    def __init__(self, operator: Operator, clock: Callable[[], float]) -> None:
        self._operator = operator
        self._clock = clock
        self._read_at = 0.0
        self._lost_at: float | None = None
        self._used: deque[float] = deque(maxlen=_REMEMBERED)
        self._free: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED * 5)
        self.status: dict[str, Any] = {}
        """As `cramctl status --json` has it; the last one while the device does not answer."""
        self.rates: dict[str, float | None] = dict.fromkeys(_RATES)
        """Pages a second since the reading before; None where there is nothing to compare with."""
        self.host_rates: dict[str, float | None] = {}
        """How fast each host takes media, bytes a second; negative: gives back."""
        self.problem = ""
        """Why there is no answer, in one line; empty while there is one."""

    def look(self) -> None:
        """Read the device.

        Raises:
            OperatorError: it refuses, or cannot be reached.
        """
        status = describe_status(self._operator.status())
        now = self._clock()
        if status["generation"] != self.status.get("generation"):
            # Another power-on is another device.
            self._free.clear()
        self._compare(status, now - self._read_at)
        self.status, self._read_at = status, now
        self._used.append(status["media"]["used_size"] / max(1, status["physical_size"]))
        self._free.append((now, status["media"]["free_size"]))
        self.problem, self._lost_at = "", None

    def look_again(self) -> None:
        """Read the device; if it cannot be reached, remember why.

        Raises:
            OperatorError: it refuses.
        """
        try:
            self.look()
        except Unreachable as error:
            self.problem = str(error)
            self._lost_at = self._clock() if self._lost_at is None else self._lost_at
            self.rates = dict.fromkeys(_RATES)
            self.host_rates = {}

    @property
    def away_s(self) -> float:
        """For how long it has not answered."""
        return 0.0 if self._lost_at is None else self._clock() - self._lost_at

    @property
    def used(self) -> Sequence[float]:
        """The share of the media in use at the last readings, 0 to 1, the newest last."""
        return self._used

    @property
    def forecast(self) -> Forecast | None:
        """When no media is free, if it goes on; None: not known yet."""
        return forecast(self._free, self.status["physical_size"])

    def described(self) -> dict[str, Any]:
        """This reading for programs. `status` is null while the device does not answer."""
        return {
            "reachable": not self.problem,
            "problem": self.problem or None,
            "rates": {f"{name}_per_s": value for name, value in self.rates.items()},
            "status": None if self.problem else self.status,
        }

    def _compare(self, status: dict[str, Any], elapsed_s: float) -> None:
        """Rates between two readings of one process that nothing came between."""
        counters, before = status["counters"], self.status.get("counters", {})
        gone_on = bool(before) and not self.problem and all(counters[name] >= before[name] for name in _RATES)
        self.rates = {
            name: (counters[name] - before[name]) / elapsed_s if gone_on else None for name in _RATES
        }
        earlier = (
            {one["region"]: one["used_size"] for one in self.status.get("regions", ())} if gone_on else {}
        )
        self.host_rates = {
            one["region"]: (
                (one["used_size"] - earlier[one["region"]]) / elapsed_s if one["region"] in earlier else None
            )
            for one in status["regions"]
        }
