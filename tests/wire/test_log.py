"""The log that both sides share: what may storm is held back, and told of."""

from __future__ import annotations

import io
import json
import logging
from collections import Counter
from functools import partial
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cramwire.log import EventLog, LinesBehind, Storms

SECOND = 1_000_000_000


def test_a_storm_lets_a_few_lines_through_and_then_one_in_a_while() -> None:
    """The line that comes through says how many did not."""
    storms = Storms(burst=3, every_ns=SECOND)
    assert [storms.admit(("refused",), 0) for _ in range(5)] == [0, 0, 0, None, None]
    assert storms.admit(("refused",), SECOND) == 2
    assert storms.admit(("refused",), SECOND) is None
    assert storms.admit(("refused",), 9 * SECOND) == 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3 * SECOND), st.booleans()), max_size=60))
def test_no_line_of_a_storm_goes_uncounted(steps: list[tuple[str, int, bool]]) -> None:
    """Whatever comes when: each is written, or told of as held back, once; and never more than may be."""
    storms, now_ns = Storms(burst=3, every_ns=SECOND), 0
    asked: Counter[str] = Counter()
    told: Counter[str] = Counter()
    written: Counter[str] = Counter()
    for name, later_ns, look in steps:
        now_ns += later_ns
        asked[name] += 1
        held = storms.admit((name,), now_ns)
        if held is not None:
            written[name] += 1
            told[name] += 1 + held
        if look:
            told.update({one: lines for (one,), lines in storms.overdue(now_ns)})
        assert written[name] <= 3 + now_ns / SECOND
    told.update({one: lines for (one,), lines in storms.overdue(now_ns, all_of_them=True)})
    assert told == asked


def test_kinds_do_not_hold_each_other_back() -> None:
    """One that storms costs the others nothing."""
    storms = Storms(burst=1)
    assert storms.admit(("refused", "write"), 0) == 0
    assert storms.admit(("refused", "write"), 0) is None
    assert storms.admit(("refused", "read"), 0) == 0


def test_what_was_held_back_last_is_told_of_when_no_more_comes() -> None:
    """Once, and not while the storm still blows."""
    storms = Storms(burst=1)
    for _ in range(4):
        storms.admit(("refused", "write"), 0)
    assert storms.overdue(SECOND // 2) == []
    assert storms.overdue(SECOND) == [(("refused", "write"), 3)]
    assert storms.overdue(SECOND) == []


def lines_of(log: EventLog, stream: io.StringIO, **always: Any) -> list[dict[str, Any]]:
    """What is written of a storm of seven and of one line beside it."""
    with log.to(stream, "json", "info", **always):
        for number in range(7):
            log.often("refused", "write", facts=partial(dict, number=number))
        log.event("beside", host="mine")
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_end_tells_of_what_was_held_back() -> None:
    """So that nothing is left out without a word."""
    lines = lines_of(EventLog("storms"), io.StringIO(), host="host-a")
    assert [line["event"] for line in lines] == [*["refused"] * 5, "beside", "lines_suppressed"]
    assert [line["number"] for line in lines[:5]] == [0, 1, 2, 3, 4]
    assert {name: lines[-1][name] for name in ("of", "kind", "lines")} == {
        "of": "refused",
        "kind": "write",
        "lines": 2,
    }


def test_some_facts_go_with_every_line() -> None:
    """A line's own win."""
    lines = lines_of(EventLog("always"), io.StringIO(), host="host-a")
    assert [line["host"] for line in lines] == [*["host-a"] * 5, "mine", "host-a"]


def test_a_line_that_is_not_written_asks_for_no_facts() -> None:
    """Neither below the level, nor where nobody listens."""
    log, asked = EventLog("unasked"), list[int]()

    def facts() -> dict[str, Any]:
        asked.append(1)
        return {}

    log.often("nobody listens", level=logging.DEBUG, facts=facts)
    with log.to(io.StringIO(), "text", "warning"):
        log.often("below", facts=facts)
        assert not asked
        log.often("above", level=logging.WARNING, facts=facts)
    assert asked == [1]


def test_where_nothing_comes_a_look_is_taken() -> None:
    """That is how the end of a storm is told while the program goes on."""
    looks: list[int] = []
    handler = LinesBehind(lambda _line: None, lambda: looks.append(1))
    handler._thread.join(1.5)
    handler.close()
    assert looks
