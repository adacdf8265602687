"""A process' metrics as a reader of Prometheus sees them: asked once, summed by name and labels."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families

from cramlab.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

_DEADLINE_S: Final = 5.0


class Samples:
    """One scrape. Names as they are exported: counters end with `_total`."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family in families:
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def __contains__(self, name: str) -> bool:
        return name in self._samples

    def __iter__(self) -> Iterator[str]:
        """Every name, once."""
        return iter(self._samples)

    def total(self, name: str, labels: Mapping[str, str] | None = None) -> float:
        """The sum of all samples of this name that have these labels.

        Raises:
            KeyError: there is none.
        """
        wanted = (labels or {}).items()
        found = [value for has, value in self._samples.get(name, ()) if wanted <= has.items()]
        if not found:
            raise KeyError(f"there is no metric {name}{dict(labels) if labels else ''}")
        return sum(found)


def read_families(address: str) -> list[Metric]:
    """All that `http://ADDRESS/metrics` exports now, with types and meanings.

    Raises:
        ProcessError: nobody answers.
    """
    # No proxy that the environment may name stands between two processes of one machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/metrics", timeout=_DEADLINE_S) as answer:
            text = answer.read().decode()
    except (OSError, urllib.error.URLError) as error:
        raise ProcessError(f"the metrics at {address} cannot be read: {error}") from error
    return list(text_string_to_metric_families(text))


def scrape(address: str) -> Samples:
    """The figures that `http://ADDRESS/metrics` exports now.

    Raises:
        ProcessError: nobody answers.
    """
    return Samples(read_families(address))
