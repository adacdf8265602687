"""The seeded generator: the same settings, the same programs."""

from __future__ import annotations

from collections import Counter

import pytest
import zstandard

from agent_helpers import PAGE
from cramagent.sources import Exit, Fork, Free, SourceError, Store, Synthetic
from cramagent.sources.content import Content
from cramagent.sources.synthetic import FIRST_VPN, SyntheticSource

SMALL = Synthetic(seed=5, pages=600, stores=0.05, frees=0.02, forks=2)


def test_the_same_seed_makes_the_same_changes() -> None:
    """Bit for bit, over many intervals."""
    one, two = SyntheticSource(SMALL), SyntheticSource(SMALL)
    for _ in range(8):
        assert list(one.scan()) == list(two.scan())


def test_another_seed_makes_other_bytes() -> None:
    """From the first page on."""
    one = SyntheticSource(SMALL)
    two = SyntheticSource(Synthetic(seed=6, pages=600))
    assert next(iter(one.scan())) != next(iter(two.scan()))


def test_the_first_scan_fills_the_parent() -> None:
    """Every page once, in batches."""
    stores = list(SyntheticSource(SMALL).scan())
    vpns = [vpn for store in stores if isinstance(store, Store) for vpn in store.vpns]
    assert vpns == list(range(FIRST_VPN, FIRST_VPN + 600))
    assert len(stores) == 3


def test_programs_live() -> None:
    """Stores, frees of both kinds, forks, and exits of both kinds: all of them come up."""
    source = SyntheticSource(SMALL)
    seen: Counter[str] = Counter()
    alive = {0}
    for _ in range(60):
        for change in source.scan():
            match change:
                case Fork(parent, child):
                    assert parent in alive
                    assert child not in alive
                    alive.add(child)
                    seen["fork"] += 1
                case Exit(space, noticed):
                    alive.remove(space)
                    seen[f"exit {noticed}"] += 1
                case Free(space, _, noticed):
                    assert space in alive
                    seen[f"free {noticed}"] += 1
                case Store(space, _, _):
                    assert space in alive
                    seen["child store" if space else "store"] += 1
        assert len(alive) <= 3
    assert set(seen) == {"fork", "exit True", "exit False", "free True", "free False", "store", "child store"}


def test_pages_can_be_asked_for_again() -> None:
    """Each as it was stored last, in each space."""
    source = SyntheticSource(SMALL)
    held: dict[tuple[int, int], bytes] = {}
    for _ in range(6):
        for change in source.scan():
            match change:
                case Store(space, vpns, data):
                    for index, vpn in enumerate(vpns):
                        held[space, vpn] = bytes(data[index * PAGE : (index + 1) * PAGE])
                case Free(space, vpns, _):
                    for vpn in vpns:
                        held.pop((space, vpn), None)
                case Fork(parent, child):
                    held.update(
                        {(child, vpn): page for (space, vpn), page in held.items() if space == parent}
                    )
                case Exit(space, _):
                    held = {key: page for key, page in held.items() if key[0] != space}
    assert all(source.page(*key) == page for key, page in held.items())
    assert source.page(0, FIRST_VPN + 600) is None
    assert source.page(99, FIRST_VPN) is None


def test_a_drawn_store_has_new_bytes() -> None:
    """And is what the page holds from then on."""
    source = SyntheticSource(Synthetic(seed=1, pages=10, zero=0.0))
    list(source.scan())
    before = source.page(0, FIRST_VPN)
    after = source.rewrite(0, (FIRST_VPN, FIRST_VPN + 1))
    assert after is not None
    assert after.vpns == (FIRST_VPN, FIRST_VPN + 1)
    assert after.data[:PAGE] != before
    assert after.data == b"".join([source.page(0, vpn) or b"" for vpn in after.vpns])
    assert source.rewrite(99, (FIRST_VPN,)) is None


def test_a_killed_parent_is_filled_again_and_a_killed_child_is_gone() -> None:
    """What the host killed does not go on."""
    source = SyntheticSource(SMALL)
    list(source.scan())
    (child,) = [change.child for change in source.scan() if isinstance(change, Fork)]
    source.killed(child)
    assert source.page(child, FIRST_VPN) is None
    assert not [
        change for change in source.scan() if isinstance(change, (Store, Exit)) and change.space == child
    ]
    source.killed(0)
    vpns = [vpn for change in source.scan() if isinstance(change, Store) for vpn in change.vpns]
    assert len(vpns) == 600


def test_the_shares_of_content_hold() -> None:
    """Zeros, pages that zstd cannot shrink, and pages that it makes about a third of."""
    content = Content(3, zero=0.2, incompressible=0.3)
    zstd = zstandard.ZstdCompressor(level=1)
    sizes = []
    for stamp in range(2000):
        page = content.page(stamp)
        assert len(page) == PAGE
        sizes.append(0 if page == bytes(PAGE) else len(zstd.compress(page)))
    assert 0.17 < sizes.count(0) / 2000 < 0.23
    assert 0.27 < sum(size > PAGE - 64 for size in sizes) / 2000 < 0.33
    shrunk = [size for size in sizes if 0 < size <= PAGE - 64]
    assert 2.5 < PAGE * len(shrunk) / sum(shrunk) < 3.5


def test_no_two_stamps_give_the_same_page() -> None:
    """So that a page which is mixed up with another is found."""
    content = Content(3, zero=0.0, incompressible=0.5)
    assert len({content.page(stamp) for stamp in range(5000)}) == 5000


@pytest.mark.parametrize(
    "wrong",
    [
        {"pages": 0},
        {"zero": 1.1},
        {"zero": 0.6, "incompressible": 0.6},
        {"stores": -0.1},
        {"forks": -1},
        {"unnoticed": 2},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    """In one line that begins with the source's name."""
    with pytest.raises(SourceError, match=r"^synthetic: "):
        Synthetic(**wrong)  # type: ignore[arg-type]  # what is wrong varies


def test_what_is_stored_drifts_from_interval_to_interval() -> None:
    """Pages stored late compress worse; those that were there keep their bytes."""
    settings = Synthetic(
        seed=5, pages=400, zero=0.0, incompressible=0.0, stores=0.5, drift_to=1.0, drift_intervals=4
    )
    source = SyntheticSource(settings)
    first = b"".join(bytes(change.data) for change in source.scan() if isinstance(change, Store))
    before = {vpn: source.page(0, vpn) for vpn in range(FIRST_VPN, FIRST_VPN + 400)}
    shares = []
    for _ in range(5):
        data = b"".join(
            bytes(change.data) for change in source.scan() if isinstance(change, Store) and change.space == 0
        )
        pages = [data[start : start + PAGE] for start in range(0, len(data), PAGE)]
        raw = [page for page in pages if len(zstandard.compress(page, 1)) > 4000]
        shares.append(len(raw) / len(pages))
    assert len(zstandard.compress(first, 1)) < len(first) / 2
    assert shares == sorted(shares)
    assert 0.1 < shares[0] < 0.4
    assert shares[3:] == [1.0, 1.0]
    unchanged = [vpn for vpn, page in before.items() if source.page(0, vpn) == page]
    assert unchanged, "pages that were not stored again are as they were"


@pytest.mark.parametrize(
    "wrong",
    [{"drift_to": 1.1}, {"drift_to": -0.1}, {"drift_to": 0.9, "zero": 0.2}, {"drift_intervals": 0}],
)
def test_a_drift_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    """With the reason."""
    with pytest.raises(SourceError, match="drift"):
        Synthetic(**wrong)  # type: ignore[arg-type]  # one of its numbers
