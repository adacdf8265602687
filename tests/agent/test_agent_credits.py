"""Write credits from end to end: policy, thread, wire, device."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from agent_helpers import running_agent
from cramagent.main import main
from cramagent.policy.settings import Budget
from cramagent.sources import Synthetic
from cramagent.sources.synthetic import SyntheticSource
from server_helpers import bench_of

if TYPE_CHECKING:
    from pathlib import Path

TOKENS = {"budget": Budget.TOKENS, "credit_stock_pages": 16, "credit_interval_ns": 1_000_000}


def stores() -> SyntheticSource:
    """Seeded programs of 300 pages."""
    return SyntheticSource(Synthetic(seed=3, pages=300, stores=0.05))


def test_a_host_writes_on_the_credits_that_it_is_granted(tmp_path: Path) -> None:
    """No page is made writable without one; both sides count the same, and the end gives all back."""
    with (
        bench_of(physical=2 << 20) as bench,
        running_agent(
            bench.service.address, stores(), tmp_path, accesses=6000, write_share=0.3, policy=TOKENS
        ) as agent,
    ):
        ending = agent.join()
        counters = agent.machine.host.counters
        assert ending.reason == "accesses"
        assert agent.machine.tally.mismatched == 0
        assert counters.mkwrites == counters.credits_spent > 16
        with bench.service.runtime.device() as (device, _):
            assert device.counters.credits_granted >= counters.credits_granted
        assert not bench.status().regions


def test_a_device_that_grants_nothing_has_every_write_promoted(tmp_path: Path) -> None:
    """It answers; the answer is none."""
    with (
        bench_of(physical=2 << 20, credit_share_milli=0) as bench,
        running_agent(
            bench.service.address, stores(), tmp_path, accesses=2000, write_share=0.3, policy=TOKENS
        ) as agent,
    ):
        agent.join()
        counters = agent.machine.host.counters
        assert counters.mkwrites == 0
        assert counters.mkwrite_denied_credits > 0
        assert counters.credits_refused > 0


def test_tokens_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """In the report, with what came of it."""
    report = tmp_path / "report.json"
    with bench_of(physical=2 << 20) as bench, pytest.raises(SystemExit) as ended:
        main(
            [
                *("run", "--device", bench.service.address, "--source", "synthetic", "--pages", "300"),
                *("--accesses", "4000", "--rate", "0", "--write-share", "0.3", "--metrics", "off"),
                *("--budget", "tokens", "--credit-stock", "8", "--credit-interval", "1ms"),
                *("--device-timeout", "5s", "--json", str(report)),
            ]
        )
    assert ended.value.code == 0, capsys.readouterr().err
    told = json.loads(report.read_text())
    assert (told["budget"], told["budget_pages"]) == ("tokens", 0)
    assert told["mkwrites"] > 0
