"""Drawn accesses are seeded, in range, and shaped as they say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from cramagent.patterns import PatternError, _scatter, parse_pattern

TEXTS = ["zipf", "zipf:0.5", "zipf:1", "zipf:2", "scan", "hotset", "hotset:0.2:0.8", "hotset:1:0.5"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_same_seed_draws_the_same(text: str) -> None:
    """Two of a kind agree, call by call, though the pages come and go."""
    one, two = parse_pattern(text, 7), parse_pattern(text, 7)
    for pages in (1000, 1001, 17, 1):
        assert one.draw(64, pages) == two.draw(64, pages)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("pages", [1, 2, 3, 64, 65, 1000])
def test_positions_are_in_range(text: str, pages: int) -> None:
    """Of every size of list."""
    assert all(0 <= position < pages for position in parse_pattern(text, 1).draw(500, pages))


@pytest.mark.parametrize("text", ["zipf", "hotset"])
def test_another_seed_draws_another(text: str) -> None:
    """The seed matters where something is drawn."""
    assert parse_pattern(text, 1).draw(64, 1000) != parse_pattern(text, 2).draw(64, 1000)


def test_zipf_has_a_few_hot_pages() -> None:
    """At s = 1 the hottest page of 1000 gets about a tenth of the reads, the hottest ten about a third."""
    counts = Counter(parse_pattern("zipf:1", 3).draw(20_000, 1000))
    hottest = [count for _, count in counts.most_common(10)]
    assert 0.05 < hottest[0] / 20_000 < 0.15
    assert 0.25 < sum(hottest) / 20_000 < 0.45


def test_hotset_keeps_to_its_share() -> None:
    """Nine tenths of the reads go to one page in ten."""
    counts = Counter(parse_pattern("hotset:0.1:0.9", 3).draw(20_000, 1000))
    hottest = sum(count for _, count in counts.most_common(100))
    assert 0.88 < hottest / 20_000 < 0.94


def test_scan_goes_round() -> None:
    """One after the other, and from the beginning again."""
    scan = parse_pattern("scan", 0)
    assert scan.draw(3, 5) == [0, 1, 2]
    assert scan.draw(4, 5) == [3, 4, 0, 1]


@pytest.mark.parametrize("pages", [1, 2, 5, 64, 1000])
def test_every_rank_has_a_page_of_its_own(pages: int) -> None:
    """Ranks are scattered by a permutation: no page is drawn for two, none for nobody."""
    assert sorted(_scatter(np.arange(pages), pages).tolist()) == list(range(pages))


def test_a_pattern_names_itself_with_its_numbers() -> None:
    """What the report states can be given again."""
    assert [str(parse_pattern(text, 0)) for text in ("zipf", "scan", "hotset:0.2:0.8")] == [
        "zipf:1",
        "scan",
        "hotset:0.2:0.8",
    ]


@pytest.mark.parametrize(
    "text", ["", "zip", "zipf:0", "zipf:-1", "zipf:x", "scan:1", "hotset:0.1", "hotset:2:1"]
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """In one line that shows what is one."""
    with pytest.raises(PatternError, match="is not a pattern: write zipf"):
        parse_pattern(text, 0)
