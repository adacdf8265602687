"""Whose turn it is: shares, order, turns kept for small commands. No threads, no time."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cxldevd.fair_queue import MOST_AHEAD, MOST_OVERTAKEN, FairQueue, Size

if TYPE_CHECKING:
    from collections.abc import Iterable

PART = 144
"""What a part of a large command costs here."""


@dataclass(eq=False)
class Command:
    """One command: whose, which of its host's, and how many parts it still has to do."""

    host: str
    number: int
    size: Size
    parts: int = 1

    @property
    def large(self) -> bool:
        """Whether it takes one of the turns that all have."""
        return self.size is not Size.SMALL


class Machine:
    """Commands, and who of them has a turn."""

    def __init__(self, turns: int = 1, small_turns: int = 0, short_turns: int = 0) -> None:
        self.queue: FairQueue[Command] = FairQueue(turns, small_turns, short_turns)
        self.running: list[Command] = []
        self.waiting: list[Command] = []
        self.served: Counter[str] = Counter()
        """Cost of the turns that each host has had."""
        self.began: defaultdict[tuple[str, bool], list[int]] = defaultdict(list)
        """Commands in the order in which they had their first turn, by host and size."""
        self._cost: dict[Command, int] = {}
        self._numbers: Counter[str] = Counter()

    def ask(
        self, host: str, cost: int = 20, *, large: bool = False, short: bool = False, parts: int = 1
    ) -> Command:
        """A command comes: a small one, unless it is told to be another."""
        self._numbers[host] += 1
        size = Size.LONG if large else Size.SHORT if short else Size.SMALL
        command = Command(host, self._numbers[host], size, parts)
        self._cost[command] = cost
        self.waiting.append(command)
        self._begin(self.queue.ask(host, cost, command, size))
        return command

    def done(self, command: Command) -> list[Command]:
        """It has worked: it ends, or goes on to its next part. Who has a turn now and had none."""
        self.running.remove(command)
        command.parts -= 1
        if not command.parts:
            started = self.queue.done(command.host, command.size)
        else:
            self.waiting.append(command)
            started = self.queue.next_part(command.host, self._cost[command], command)
        self._begin(started)
        return started

    def run(self, commands: int) -> list[Command]:
        """The commands that run end one after the other, the first to begin first; these have."""
        ended = []
        for _ in range(commands):
            ended.append(self.running[0])
            self.done(self.running[0])
        return ended

    def _begin(self, started: Iterable[Command]) -> None:
        for command in started:
            self.waiting.remove(command)
            self.running.append(command)
            self.served[command.host] += self._cost[command]
            numbers = self.began[command.host, command.large]
            if command.number not in numbers:
                numbers.append(command.number)


def test_a_host_alone_has_every_turn() -> None:
    """As many as there are, at once; and large commands leave those for small ones."""
    machine = Machine(turns=2, small_turns=1)
    for _ in range(3):
        machine.ask("a", large=True)
    assert len(machine.running) == 2
    machine.ask("a")
    assert len(machine.running) == 3
    assert machine.queue.waiting == 1


def test_two_deep_queues_take_turns() -> None:
    """However many one of them has waiting."""
    machine = Machine()
    for _ in range(100):
        machine.ask("greedy")
    for _ in range(10):
        machine.ask("polite")
    hosts = [command.host for command in machine.run(20)]
    assert hosts.count("polite") >= 9


def test_who_asks_now_and_then_waits_for_one_command_only() -> None:
    """A thousand of another's wait; its own is next."""
    machine = Machine()
    for _ in range(1000):
        machine.ask("greedy")
    for _ in range(20):
        polite = machine.ask("polite")
        machine.run(1)
        assert polite in machine.running
        machine.run(1)


def test_costs_count_not_commands() -> None:
    """Nine small commands for each large one that costs nine times as much."""
    machine = Machine()
    for _ in range(40):
        machine.ask("large", 90, large=True)
    for _ in range(400):
        machine.ask("small", 10)
    machine.run(200)
    assert abs(machine.served["large"] - machine.served["small"]) <= 100


def test_silence_saves_nothing_up() -> None:
    """A host that comes back from a pause has its share from then on, and no more."""
    machine = Machine()
    for _ in range(500):
        machine.ask("steady")
    machine.run(300)
    for _ in range(200):
        machine.ask("late")
    before = machine.served["steady"]
    machine.run(100)
    assert machine.served["steady"] - before >= 49 * 20


def test_nobody_pays_for_what_it_took_alone() -> None:
    """Once nothing was wanted by anybody, all begin level."""
    machine = Machine()
    for _ in range(500):
        machine.ask("a")
        machine.run(1)
    machine.ask("b")
    for _ in range(20):
        machine.ask("a")
        machine.ask("b")
    machine.run(20)
    assert abs(machine.served["a"] - 500 * 20 - machine.served["b"]) <= 40


def test_a_small_command_passes_by_large_ones() -> None:
    """Its own host's, too; but large ones are not kept waiting for ever."""
    machine = Machine(turns=1, small_turns=1)
    for _ in range(2):
        machine.ask("a", large=True)
    first = machine.running[0]
    for _ in range(MOST_OVERTAKEN):
        machine.done(machine.ask("a"))
    machine.ask("a")
    assert machine.running == [first]
    machine.done(first)
    assert [command.large for command in machine.running] == [True, False]


def test_parts_let_others_in() -> None:
    """Whoever came meanwhile waits for a part; then the large command goes on before its host's next."""
    machine = Machine()
    large = machine.ask("bulk", PART, large=True, parts=4)
    behind = machine.ask("bulk", PART, large=True)
    polite = machine.ask("polite")
    assert machine.done(large) == [polite]
    assert machine.done(polite) == [large]
    assert machine.done(large) == [large]
    machine.done(large)
    assert machine.done(large) == [behind]


def test_small_commands_on_kept_turns_are_paid_for() -> None:
    """A host that takes all kept turns has the less of the others."""
    machine = Machine(turns=1, small_turns=1)
    for _ in range(300):
        machine.ask("both", PART, large=True)
        machine.ask("both", PART)
        machine.ask("large", PART, large=True)
    machine.run(200)
    assert abs(machine.served["both"] - machine.served["large"]) <= 3 * PART


def test_a_short_command_of_who_is_next_waits_for_nobody() -> None:
    """Its host has no turn: it need not wait until a part of another's thousand pages is done."""
    machine = Machine(turns=2, short_turns=1)
    for _ in range(5):
        machine.ask("bulk", PART, large=True, parts=4)
    first = machine.ask("polite", PART, short=True)
    assert first in machine.running
    behind = machine.ask("polite", PART, short=True)
    late = machine.ask("late", PART, short=True)
    assert machine.running.count(first) == 1
    assert {behind, late} <= set(machine.waiting)
    # There is one such turn. With it given back, the next one is had by a host that has none.
    assert machine.done(first) == [late]
    machine.done(late)
    assert behind in machine.running


def test_a_long_command_has_no_turn_of_a_short_one() -> None:
    """Nor has a small one: there are others for it."""
    machine = Machine(turns=1, small_turns=1, short_turns=1)
    machine.ask("bulk", PART, large=True)
    long, small = machine.ask("a", PART, large=True), machine.ask("a")
    assert long in machine.waiting
    assert small in machine.running


def test_who_had_more_than_its_share_waits_for_an_ordinary_turn() -> None:
    """A host that sends short commands one by one has no more than any other in the end."""
    machine = Machine(turns=1, short_turns=1)
    for _ in range(400):
        for number in range(4):
            machine.ask(f"bulk-{number}", PART, large=True)
    short = machine.ask("short", PART, short=True)
    for _ in range(300):
        ended = machine.running[0]
        machine.done(ended)
        if short not in machine.running and short not in machine.waiting:
            short = machine.ask("short", PART, short=True)
    assert abs(machine.served["short"] - machine.served["bulk-0"]) <= 3 * PART


def test_it_is_known_who_waits_with_little() -> None:
    """Of the other hosts, by what each is to begin next."""
    machine = Machine()
    machine.ask("bulk", large=True)
    machine.ask("bulk", large=True)
    machine.ask("other", large=True)
    assert not machine.queue.brief_wait("bulk")
    machine.ask("other", short=True)
    assert not machine.queue.brief_wait("bulk")
    machine.ask("polite", short=True)
    assert machine.queue.brief_wait("bulk")
    assert not machine.queue.brief_wait("polite")
    machine.ask("other")
    assert machine.queue.brief_wait("polite")


def test_a_command_that_comes_may_begin_another() -> None:
    """It is served, its host falls behind, and who is next now has the turn that is kept for that."""
    machine = Machine(turns=2, small_turns=1, short_turns=1)
    machine.ask("a", 50, large=True)
    machine.ask("b", 1, short=True)
    small = machine.ask("c", 50)
    short = machine.ask("c", 300, short=True)
    machine.ask("b", 1, large=True)
    machine.done(small)
    assert short in machine.waiting
    machine.ask("b", 300)
    assert short in machine.running


def test_debts_are_bounded() -> None:
    """A host that took all kept turns for long waits for so much of the others' and no more."""
    machine = Machine(turns=1, small_turns=1)
    for _ in range(500):
        machine.ask("steady", PART, large=True)
    for _ in range(2000):
        machine.done(machine.ask("small", PART))
    before = machine.served["steady"]
    late = machine.ask("small", PART, large=True)
    while late not in machine.running:
        machine.run(1)
    assert machine.served["steady"] - before <= MOST_AHEAD + 2 * PART


def test_hosts_that_are_gone_are_forgotten() -> None:
    """However many come by."""
    machine = Machine()
    for number in range(2000):
        machine.ask(f"host-{number}")
        machine.run(1)
    assert len(machine.queue._hosts) < 300


@given(
    weights=st.lists(st.integers(1, 300), min_size=2, max_size=6),
    turns=st.integers(1, 4),
    rounds=st.integers(50, 150),
)
def test_shares_within_a_bound(weights: list[int], turns: int, rounds: int) -> None:
    """Hosts that always want more are served the same cost, give or take what is under way."""
    machine = Machine(turns=turns)
    for number, cost in enumerate(weights):
        for _ in range(2 * rounds):
            machine.ask(f"host-{number}", cost, large=True)
    hosts = {f"host-{number}" for number in range(len(weights))}
    while hosts <= {command.host for command in machine.waiting} and rounds:
        machine.run(1)
        rounds -= 1
    served = [machine.served[host] for host in hosts]
    assert max(served) - min(served) <= (turns + 1) * max(weights)


class FairQueueMachine(RuleBasedStateMachine):
    """Any sequence of commands that come and end."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine(turns=2, small_turns=1, short_turns=1)
        self.steps_waiting: Counter[Command] = Counter()

    @rule(host=st.sampled_from("abc"), cost=st.integers(1, 300), parts=st.integers(1, 4))
    def a_large_one(self, host: str, cost: int, parts: int) -> None:
        """Of several parts."""
        self.machine.ask(host, cost, large=True, parts=parts)

    @rule(host=st.sampled_from("abc"), cost=st.integers(1, 150))
    def a_short_one(self, host: str, cost: int) -> None:
        """Of one part."""
        self.machine.ask(host, cost, short=True)

    @rule(host=st.sampled_from("abc"), cost=st.integers(1, 40))
    def a_small_one(self, host: str, cost: int) -> None:
        """A page or two."""
        self.machine.ask(host, cost)

    @precondition(lambda self: self.machine.running)
    @rule(which=st.integers(0, 2))
    def one_ends(self, which: int) -> None:
        """Or goes on to its next part."""
        running = self.machine.running
        started = self.machine.done(running[which % len(running)])
        for command in self.machine.waiting:
            self.steps_waiting[command] += command not in started

    @invariant()
    def no_turn_is_idle_and_none_is_given_twice(self) -> None:
        """Nobody who could work waits."""
        machine = self.machine
        large = sum(command.large for command in machine.running)
        assert machine.queue.taken == len(machine.running) <= 4
        assert large <= 3
        assert machine.queue.waiting == len(machine.waiting)
        if machine.waiting and len(machine.running) < 4:
            assert large >= 2
            assert all(command.large for command in machine.waiting)

    @invariant()
    def the_turn_of_short_ones_is_one_beside_the_others(self) -> None:
        """No more than two of them are had by whoever has several, or does long work."""
        running = self.machine.running
        assert sum(command.size is Size.LONG for command in running) <= 2

    @invariant()
    def the_order_of_a_host_is_kept(self) -> None:
        """Among its small commands, and among its large ones: they begin in the order in which they came."""
        for numbers in self.machine.began.values():
            assert numbers == sorted(numbers)

    @invariant()
    def nobody_starves(self) -> None:
        """Whatever else comes: with costs up to 300, a command of three hosts is not passed by for long."""
        assert all(self.steps_waiting[one] < 300 for one in self.machine.waiting)

    def teardown(self) -> None:
        """All of it is served in the end."""
        steps = 0
        while self.machine.running:
            self.machine.done(self.machine.running[0])
            steps += 1
            assert steps < 10_000
        assert not self.machine.waiting
        assert self.machine.queue.taken == 0


TestFairQueueMachine = FairQueueMachine.TestCase
