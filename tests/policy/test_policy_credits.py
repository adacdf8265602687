"""`budget = tokens`: the device says how many pages may be made writable."""

from __future__ import annotations

import pytest

from cramagent.policy.credits import CreditRequest
from cramagent.policy.settings import Budget, PolicySettings, SettingError
from cramagent.policy.states import State
from policy_helpers import CRITICAL, Rig

INTERVAL_NS = 1_000


def tokens(stock: int = 4, **settings: int) -> Rig:
    """A host that likes to have so many credits, 16 of its pages on the node."""
    rig = Rig(budget=Budget.TOKENS, credit_stock_pages=stock, credit_interval_ns=INTERVAL_NS, **settings)
    rig.fill(16)
    return rig


def ask(rig: Rig) -> CreditRequest | None:
    """What the host would have the runner ask, an interval later."""
    rig.now += INTERVAL_NS
    return rig.host.credit_request(rig.now)


def grant(rig: Rig, pages: int) -> None:
    """Let it ask, and grant it so many."""
    request = ask(rig)
    assert request is not None
    rig.host.credits_granted(request.number, pages)
    rig.host.check()


def store(rig: Rig, vpn: int) -> State:
    """A store; how the page is mapped then."""
    rig.put(rig.a, vpn, 900 + vpn)
    return rig.state(rig.a, vpn)


def test_without_credits_every_write_promotes() -> None:
    """Counted by its reason; the budget in pages says nothing."""
    rig = tokens(budget_pages=8)
    assert store(rig, 0) is State.DRAM
    assert (rig.counters.mkwrite_denied_credits, rig.counters.mkwrite_denied_budget) == (1, 0)


def test_a_mkwrite_spends_a_credit() -> None:
    """When they have run out, writes promote until the device grants more."""
    rig = tokens()
    grant(rig, 2)
    assert [store(rig, vpn) for vpn in range(3)] == [State.RW, State.RW, State.DRAM]
    assert (rig.counters.credits_granted, rig.counters.credits_spent) == (2, 2)
    grant(rig, 1)
    assert [store(rig, vpn) for vpn in (3, 4)] == [State.RW, State.DRAM]
    assert store(rig, 0) is State.RW, "a page that is writable takes stores for nothing"


def test_a_page_made_read_only_brings_no_credit_back() -> None:
    """Only the device gives credits: it may have promised the media elsewhere by then."""
    rig = tokens(writable_age_ns=5_000)
    grant(rig, 1)
    assert store(rig, 0) is State.RW
    rig.turn(ms=1)
    assert rig.state(rig.a, 0) is State.RO
    assert store(rig, 0) is State.DRAM


def test_half_a_stock_is_asked_for() -> None:
    """With what is held, and once in an interval; one request at a time."""
    rig = tokens(4)
    assert rig.host.credit_request(rig.now) == CreditRequest(1, 0, 0, 4)
    assert ask(rig) is None, "the first is not answered yet"
    rig.host.credits_granted(1, 4)
    store(rig, 0)
    assert ask(rig) is None, "three of four are left"
    store(rig, 1)
    store(rig, 2)
    assert ask(rig) == CreditRequest(2, 3, 1, 3)
    rig.host.credits_unanswered(2)
    assert rig.host.credit_request(rig.now) is None, "not in the same interval"
    assert ask(rig) == CreditRequest(3, 3, 1, 3)
    assert rig.counters.credit_requests_unanswered == 1


def test_a_stalled_control_path_runs_the_credits_out() -> None:
    """The data path works; writes promote all the same."""
    rig = tokens()
    grant(rig, 4)
    states = []
    for vpn in range(8):
        states.append(store(rig, vpn))
        request = ask(rig)
        if request is not None:
            rig.host.credits_unanswered(request.number)
    assert states == [State.RW] * 4 + [State.DRAM] * 4
    assert rig.counters.mkwrite_denied_credits == 4
    assert rig.counters.credit_requests_unanswered > 1


def test_credits_spent_while_a_request_is_under_way() -> None:
    """The grant comes on top of what is left then."""
    rig = tokens(4)
    grant(rig, 2)
    store(rig, 0)
    request = ask(rig)
    assert request == CreditRequest(2, 1, 1, 3)
    store(rig, 1)
    rig.host.credits_granted(2, 3)
    rig.host.check()
    snapshot = rig.host.snapshot()
    assert (snapshot.writable, snapshot.credits_unspent, snapshot.budget) == (2, 3, 5)


def test_an_answer_that_was_given_up_grants_nothing() -> None:
    """The device told it to somebody who had stopped to listen; the next request says what is held."""
    rig = tokens()
    request = ask(rig)
    assert request is not None
    rig.host.credits_unanswered(request.number)
    rig.host.credits_granted(request.number, 4)
    assert store(rig, 0) is State.DRAM
    assert ask(rig) == CreditRequest(2, 0, 0, 4)


def test_a_closed_node_gives_its_credits_back() -> None:
    """Dropped at once; the device is told when pages are not writable any more, and wants nothing."""
    rig = tokens()
    grant(rig, 4)
    store(rig, 0)
    rig.read_telemetry(CRITICAL, no_more_writes=True)
    assert not rig.host.is_open()
    assert ask(rig) == CreditRequest(2, 1, 0, 0)
    assert rig.counters.credits_dropped == 3
    rig.host.credits_granted(2, 0)
    rig.turn(ms=1)
    assert rig.state(rig.a, 0) is not State.RW
    assert ask(rig) == CreditRequest(3, 0, 0, 0)
    rig.host.credits_granted(3, 0)
    assert ask(rig) is None, "there is nothing left to tell"


def test_media_that_is_kept_for_nobody_is_reported() -> None:
    """Pages that were writable and are not any more, once they are more than half a stock."""
    rig = tokens(4, writable_age_ns=5_000)
    grant(rig, 4)
    for vpn in range(2):
        store(rig, vpn)
    grant(rig, 2)
    for vpn in range(2, 4):
        store(rig, vpn)
    grant(rig, 2)
    rig.turn(ms=1)
    assert rig.host.snapshot().writable == 0
    assert ask(rig) == CreditRequest(4, 0, 4, 0)


def test_credits_end_with_the_session() -> None:
    """The next one begins with none, and an answer of the old says nothing."""
    rig = tokens()
    grant(rig, 4)
    store(rig, 0)
    store(rig, 1)
    request = ask(rig)
    assert request is not None
    rig.host.node_lost()
    rig.host.credits_granted(request.number, 4)
    rig.host.check()
    assert rig.host.snapshot().credits_unspent == 0
    assert rig.host.snapshot().budget == 0


def test_a_budget_in_pages_asks_for_nothing() -> None:
    """The default."""
    rig = Rig(budget_pages=4)
    assert rig.host.credit_request(rig.now) is None


@pytest.mark.parametrize("settings", [{"credit_stock_pages": 0}, {"credit_interval_ns": -1}])
def test_settings_that_cannot_be(settings: dict[str, int]) -> None:
    """Refused."""
    with pytest.raises(SettingError, match="credits"):
        PolicySettings(dram_pages=32, **settings)  # type: ignore[arg-type]  # the names vary
