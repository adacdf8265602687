"""An agent in pieces: its workload over a device in memory, or all of it over a real port."""

from __future__ import annotations

import random
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from cramagent.accesses import Accesses
from cramagent.dram import Dram
from cramagent.link import NodeLink
from cramagent.log import AgentLog
from cramagent.losses import Losses
from cramagent.machine import Machine, Plan
from cramagent.messages import Stop
from cramagent.node_client import NodeClient, Region
from cramagent.pace import Pace
from cramagent.patterns import Scan, parse_pattern
from cramagent.performer import Performer
from cramagent.policy.effects import NodeLoaded, NodeStatus, NodeTrimmed, NodeWritten, Tier
from cramagent.policy.host import Host
from cramagent.policy.settings import PolicySettings
from cramagent.runner import Runner
from cramagent.sources.changes import Store
from cramagent.tally import Tally
from cramagent.tiers.swapfile import SwapFile
from cramagent.tiers.zswap import Zswap
from cramagent.truth import Truth
from cramagent.verifier import Verifier
from cramagent.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cramagent.attachment import Attachment
    from cramagent.behind import Behind
    from cramagent.farewell import Ending
    from cramagent.messages import Message
    from cramagent.sources.changes import Change, Source
    from cramagent.tiers import TierStore

PAGE = 4096
MIB = 1 << 20
NS_PER_S = 1_000_000_000
DEADLINE_S = 30.0


def noise(number: int) -> bytes:
    """A page that no codec shrinks, another one for each number."""
    return random.Random(number).randbytes(PAGE)


def prose(number: int) -> bytes:
    """A page that shrinks well, another one for each number."""
    return f"page {number} ".encode().ljust(64, b".") * 64


class FakeNode:
    """A device as the performer sees it: a dict of pages."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self.poisoned: set[int] = set()
        self.answers: list[NodeStatus] = []
        """What the next calls answer instead of acting, the first one first."""
        self.refuse_write: NodeStatus | None = None
        """What the next write answers instead of acting."""
        self.capacity = 1 << 30
        """Pages that it takes."""
        self.reads: list[int] = []
        """Pages of each read."""

    def _answer(self) -> NodeStatus:
        return self.answers.pop(0) if self.answers else NodeStatus.OK

    def write(self, dpas: Sequence[int], data: bytes) -> NodeWritten:
        """Store pages until the capacity is met."""
        status, self.refuse_write = self.refuse_write or self._answer(), None
        if status is not NodeStatus.OK:
            return NodeWritten(status, 0)
        for index, dpa in enumerate(dpas):
            if dpa not in self.pages and len(self.pages) >= self.capacity:
                return NodeWritten(NodeStatus.NO_MORE_WRITES, index)
            self.pages[dpa] = data[index * PAGE : (index + 1) * PAGE]
            self.poisoned.discard(dpa)
        return NodeWritten(NodeStatus.OK, len(dpas))

    def read(self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes], None]) -> NodeLoaded:
        """Read pages; poisoned ones are named."""
        assert len(set(dpas)) == len(dpas), "the wire takes each page once"
        self.reads.append(len(dpas))
        status = self._answer()
        if status is not NodeStatus.OK:
            return NodeLoaded(status)
        good = [position for position, dpa in enumerate(dpas) if dpa not in self.poisoned]
        if good:
            take(good, b"".join(self.pages[dpas[position]] for position in good))
        bad = frozenset(range(len(dpas))) - frozenset(good)
        return NodeLoaded(NodeStatus.POISONED if bad else NodeStatus.OK, bad)

    def write_behind(self, dpas: Sequence[int], data: bytes) -> Behind[NodeWritten] | None:
        """It answers at once."""

    def read_behind(
        self, dpas: Sequence[int], take: Callable[[Sequence[int], bytes], None]
    ) -> Behind[NodeLoaded] | None:
        """It answers at once."""

    def trim(self, ranges: Sequence[tuple[int, int]]) -> NodeTrimmed:
        """Forget pages."""
        status = self._answer()
        if status is NodeStatus.OK:
            for start, length in ranges:
                for dpa in range(start, start + length, PAGE):
                    self.pages.pop(dpa, None)
        return NodeTrimmed(status)


class ScriptedSource:
    """A source that a test writes: pages by (space, vpn), and the changes of each scan."""

    def __init__(self, *scans: Sequence[Change]) -> None:
        self.scans = list(scans)
        self.now: dict[tuple[int, int], bytes] = {}
        self.killed_spaces: list[int] = []
        self.ended = False
        self.pages = 64
        self.pages_left_out = 0

    def scan(self) -> Iterator[Change | None]:
        """The next scan's changes."""
        yield from self.scans.pop(0) if self.scans else ()

    def page(self, space: int, vpn: int) -> bytes | None:
        """As the test set it."""
        return self.now.get((space, vpn))

    def rewrite(self, space: int, vpns: Sequence[int]) -> Store | None:
        """The same."""
        found = tuple([vpn for vpn in vpns if (space, vpn) in self.now])
        return Store(space, found, b"".join([self.now[space, vpn] for vpn in found])) if found else None

    def killed(self, space: int) -> None:
        """Noted."""
        self.killed_spaces.append(space)

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Rig:
    """A workload over a device in memory; no port, no thread."""

    folder: Path
    dram_pages: int = 64
    settings: dict[str, Any] = field(default_factory=dict)
    zswap_bytes: int = MIB
    swap_bytes: int = MIB
    node_pages: int = 1024
    write_share: float = 0.0

    def __post_init__(self) -> None:
        self.source = ScriptedSource()
        self.cause = "reset"
        """Why a session ends."""
        self.host = Host(PolicySettings(dram_pages=self.dram_pages, **self.settings))
        self.dram = Dram(self.dram_pages)
        self.node = FakeNode()
        self.zswap = Zswap(self.zswap_bytes)
        self.swap = SwapFile(self.folder, self.swap_bytes)
        tiers: dict[Tier, TierStore] = {Tier.ZSWAP: self.zswap, Tier.SWAPFILE: self.swap}
        self.performer = Performer(self.dram, [self.node], tiers)
        self.truth, self.tally = Truth(), Tally()
        self.losses = Losses(lambda _node: self.cause)
        self.accesses = Accesses(self.host, self.performer, self.dram, self.truth, self.tally)
        self.workload = Workload(
            source=self.source,
            host=self.host,
            performer=self.performer,
            accesses=self.accesses,
            truth=self.truth,
            losses=self.losses,
            tally=self.tally,
            pattern=Scan(),
            write_share=self.write_share,
            seed=0,
        )
        self.verifier = Verifier(
            host=self.host,
            performer=self.performer,
            dram=self.dram,
            tiers=tiers,
            truth=self.truth,
            accesses=self.accesses,
            losses=self.losses,
        )
        self.host.node_attached(self.node_pages * PAGE)

    def background(self, turns: int = 1) -> None:
        """Turns of all daemons, 10 s apart."""
        for turn in range(turns):
            self.performer.drive(self.host.background((turn + 1) * 10 * NS_PER_S))
        self.host.check()

    def close(self) -> None:
        """Give back what it holds."""
        self.swap.close()
        self.zswap.close()
        self.dram.close()


@contextmanager
def rig_of(folder: Path, **wanted: Any) -> Iterator[Rig]:
    """A rig, closed at the end; its policy is audited then."""
    rig = Rig(folder, **wanted)
    try:
        yield rig
        rig.host.check()
    finally:
        rig.close()


class RunningAgent:
    """A whole agent in this process: its main loop runs in a thread, over real ports: one node for each."""

    def __init__(
        self,
        addresses: str | Sequence[str],
        source: Source,
        folder: Path,
        cleanup: ExitStack,
        **wanted: Any,
    ) -> None:
        places = [addresses] if isinstance(addresses, str) else list(addresses)
        dials = {"nodes": len(places), **wanted.pop("policy", {})}
        policy = PolicySettings(dram_pages=wanted.pop("dram_pages", 64), **dials)
        region = Region(
            wanted.pop("host", "host-a"),
            wanted.pop("node_pages", 1024) * PAGE,
            lease_ns=10 * NS_PER_S,
            limit_bytes=wanted.pop("limit_bytes", None),
        )
        self.inbox: SimpleQueue[Message] = SimpleQueue()
        timeout_ns, traces = wanted.pop("timeout_ns", 2 * NS_PER_S), wanted.pop("traces", None)
        clients = [NodeClient(address, timeout_ns, traces=traces) for address in places]
        for client in clients:
            cleanup.callback(client.close)
        pattern = parse_pattern(wanted.pop("pattern", "scan"), 0)
        plan = Plan(
            policy,
            MIB,
            wanted.pop("swap_bytes", 64 * MIB),
            folder,
            pattern,
            wanted.pop("write_share", 0.0),
            seed=0,
        )
        links = [NodeLink(client, region, self.inbox) for client in clients]
        self.machine = Machine.build(plan, source, links)
        cleanup.callback(self.machine.close)
        self.said: list[str] = []
        self._turned = threading.Condition()
        pace = Pace(**{"interval_ns": NS_PER_S // 20, "rate": 20_000, "patience_ns": NS_PER_S, **wanted})
        self.noted: list[str] = []
        self._runner = Runner(
            self.machine,
            self.inbox,
            pace,
            log=AgentLog(self.said.append),
            publish=self._published,
            note=lambda _wall_time_ns, event, _node: self.noted.append(event),
        )
        self._ending: Ending | None = None
        self._error: BaseException | None = None
        for node in self.machine.attachments:
            self.machine.attached(node, node.link.attach(take_over=False))
        self._thread = threading.Thread(target=self._run, name="agent")

    @property
    def node(self) -> Attachment:
        """Its first node."""
        return self.machine.attachments[0]

    @property
    def link(self) -> NodeLink:
        """Of its first node."""
        return self.node.link

    def start(self) -> None:
        """Let it run."""
        self._thread.start()

    def _run(self) -> None:
        try:
            self._ending = self._runner.run()
        except BaseException as error:  # noqa: BLE001  # it is raised again in the test's thread
            self._error = error
        with self._turned:
            self._turned.notify_all()

    def _published(self, _machine: Machine) -> None:
        with self._turned:
            self._turned.notify_all()

    def wait_for(self, condition: Callable[[Machine], bool], what: str) -> None:
        """Wait until the condition holds, looking whenever the main loop shows itself."""
        with self._turned:
            met = self._turned.wait_for(lambda: self._thread_is_over() or condition(self.machine), DEADLINE_S)
        assert self._error is None, self._error
        assert met, f"not within {DEADLINE_S:g} s: {what}; it said {self.said}; {self.machine.host.counters}"
        assert condition(self.machine), f"it ended before: {what}; it said {self.said}"

    def _thread_is_over(self) -> bool:
        return self._ending is not None or self._error is not None

    def finish(self) -> Ending:
        """Stop it if it still runs; how it ended."""
        self.inbox.put(Stop("test"))
        return self.join()

    def join(self) -> Ending:
        """Wait until it ends by itself; how."""
        if self._thread.ident is not None:
            self._thread.join(DEADLINE_S)
            assert not self._thread.is_alive(), f"it does not end; it said {self.said}"
        if self._error is not None:
            raise self._error
        assert self._ending is not None
        self.machine.host.check()
        return self._ending


@contextmanager
def running_agent(
    addresses: str | Sequence[str], source: Source, folder: Path, **wanted: Any
) -> Iterator[RunningAgent]:
    """A started agent; stopped at the end, if it still runs."""
    with ExitStack() as cleanup:
        agent = RunningAgent(addresses, source, folder, cleanup, **wanted)
        agent.start()
        try:
            yield agent
        finally:
            agent.inbox.put(Stop("test"))
            agent.join()
