"""A service with `--state`: restarts that nobody notices, and states that must not be believed."""

from __future__ import annotations

import errno
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cramwire.v1 import device_pb2
from cxldevd.state_dir import StateDir, StateError
from server_helpers import DEADLINE_S, MIB, SECOND, Bench, Host, bench_of, noise, prose, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def served(folder: Path, physical: int = MIB, **settings: Any) -> Iterator[Bench]:
    """A service that keeps its state there."""
    with bench_of(physical=physical, settings={"state": folder, **settings}) as bench:
        yield bench


def again(host: Host, bench: Bench) -> Host:
    """The same host, on the service that came behind."""
    return Host(bench, host.name, host.session, host.generation)


def origin(bench: Bench) -> str:
    """What Identify says of how the device began."""
    return bench.device.Identify(device_pb2.IdentifyRequest(), timeout=DEADLINE_S).origin


def killed(folder: Path, bench: Bench) -> None:
    """What a process leaves that is killed now: the files as they are, held by nobody."""
    copy = folder.with_name("left")
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())


def test_sessions_go_on_and_every_byte_is_there(tmp_path: Path) -> None:
    """Same generation, same sessions, same pages; nothing is renewed, attached or written again."""
    with served(tmp_path) as bench:
        assert origin(bench) == "new: nothing was saved"
        hosts = [bench.attach(name) for name in ("a", "b", "c")]
        for seed, host in enumerate(hosts):
            host.write(0, prose(40, seed) + noise(8, seed))
        seen = hosts[0].telemetry()
    with served(tmp_path) as bench:
        assert origin(bench).startswith("restored: 144 pages of 3 hosts, after ")
        for seed, host in enumerate(hosts):
            assert again(host, bench).read(0, 48) == prose(40, seed) + noise(8, seed)
        assert again(hosts[0], bench).telemetry() == seen
        again(hosts[1], bench).write(0, noise(1, 9))
        again(hosts[2], bench).detach()
    with served(tmp_path) as bench:
        assert again(hosts[0], bench).read(0, 48) == prose(40, 0) + noise(8, 0)
        assert again(hosts[1], bench).read(0, 1) == noise(1, 9)
        assert refused(lambda: again(hosts[2], bench).read(0, 1)).reason == "SESSION_ENDED"


def test_a_watcher_is_told_that_the_log_did_not_outlive_the_process(tmp_path: Path) -> None:
    """Numbers go on, so that nothing new is taken for something old."""
    with served(tmp_path) as bench:
        host = bench.attach("a")
        bench.attach("b")
    with served(tmp_path) as bench:
        stream = again(host, bench).watch(after=0)
        next(stream)
        missed = next(stream).missed
        assert (missed.first_sequence, missed.last_sequence) == (1, 2)


def test_a_change_withdraws_the_state_before_its_answer(tmp_path: Path) -> None:
    """A process that is killed after it leaves nothing that a host could mistake for its pages."""
    folder = tmp_path / "state"
    with served(folder) as bench:
        host = bench.attach()
        host.write(0, prose(4))
    with served(folder) as bench:
        assert (folder / "device.state").exists()
        again(host, bench).write(0, prose(4, 1))
        assert not (folder / "device.state").exists()
        killed(folder, bench)
    with served(tmp_path / "left") as bench:
        assert origin(bench) == f"new: generation {host.generation} changed after it was saved, or never was"
        assert refused(lambda: again(host, bench).read(0, 1)).reason == "STALE_GENERATION"


def test_a_device_that_did_not_change_survives_a_kill(tmp_path: Path) -> None:
    """Reads and renewals are no changes."""
    folder = tmp_path / "state"
    with served(folder) as bench:
        host = bench.attach()
        host.write(0, prose(4))
    with served(folder) as bench:
        mine = again(host, bench)
        mine.read(0, 4)
        bench.device.Renew(device_pb2.RenewRequest(**mine.ref), timeout=DEADLINE_S)
        killed(folder, bench)
        mine.write(0, prose(1, 7))
    with served(tmp_path / "left") as bench:
        assert again(host, bench).read(0, 4) == prose(4)


def test_save_every_saves_a_device_at_rest(tmp_path: Path) -> None:
    """Once, until it changes; then it is saved anew."""
    folder = tmp_path / "state"
    with served(folder, save_every_ns=10 * SECOND) as bench:
        keeper = bench.service.keeper
        assert keeper is not None
        host = bench.attach(lease_ns=3600 * SECOND)
        for round_ in (1, 2):
            host.write(0, prose(4, round_))
            assert keeper.counts.saved == round_ - 1
            begun = SECOND + (round_ - 1) * 10 * SECOND
            assert bench.clock.until_waited_for(begun + 10 * SECOND)
            bench.clock.advance(10 * SECOND)
            assert bench.clock.until_waited_for(begun + 20 * SECOND)
            assert keeper.usable
            assert keeper.counts.saved == round_
        killed(folder, bench)
    with served(tmp_path / "left") as bench:
        assert again(host, bench).read(0, 4) == prose(4, 2)


def test_a_write_overtakes_a_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up: what it gathered is older than what the host was told."""
    with served(tmp_path) as bench:
        host = bench.attach()
        host.write(0, prose(4))
        keeper = bench.service.keeper
        assert keeper is not None
        new_file = StateDir.new_file

        @contextmanager
        def slow(folder: StateDir) -> Iterator[Any]:
            with new_file(folder) as file:
                host.write(0, prose(4, 1))
                yield file

        monkeypatch.setattr(StateDir, "new_file", slow)
        assert not keeper.save(bench.service.runtime)
        assert keeper.counts.overtaken == 1
        assert not list(tmp_path.glob("device.state*"))
        monkeypatch.undo()


def test_a_full_disk_is_told_and_leaves_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next start is an honest new generation."""

    def full(_folder: StateDir) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ExitStack() as end:
        bench = end.enter_context(served(tmp_path))
        generation = bench.attach().generation
        monkeypatch.setattr(StateDir, "new_file", full)
        with pytest.raises(StateError, match="its pages are lost"):
            end.close()
    monkeypatch.undo()
    with served(tmp_path) as bench:
        assert origin(bench).startswith(f"new: generation {generation}")


def test_a_full_disk_leaves_an_earlier_state_that_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing changed since: it is as usable as the new one would have been."""

    def full(_folder: StateDir) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with served(tmp_path) as bench:
        host = bench.attach()
        host.write(0, prose(4))
    with ExitStack() as end:
        bench = end.enter_context(served(tmp_path))
        assert again(host, bench).read(0, 4) == prose(4)
        monkeypatch.setattr(StateDir, "new_file", full)
        with pytest.raises(StateError, match="as good"):
            end.close()
    monkeypatch.undo()
    with served(tmp_path) as bench:
        assert again(host, bench).read(0, 4) == prose(4)


def test_nothing_changes_while_the_state_cannot_be_withdrawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that a kill could undo is not acknowledged."""

    def broken(_folder: StateDir) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with served(tmp_path) as bench:
        host = bench.attach()
        host.write(0, prose(4))
    with served(tmp_path) as bench:
        monkeypatch.setattr(StateDir, "withdraw", broken)
        refusal = refused(lambda: again(host, bench).write(0, prose(4, 1)))
        assert refusal.reason == "DEVICE_BUSY"
        assert "cannot be withdrawn (Read-only file system)" in refusal.message
        monkeypatch.undo()
        again(host, bench).write(0, prose(4, 1))
        assert again(host, bench).read(0, 4) == prose(4, 1)


def test_a_damaged_state_is_put_aside_and_told_of(tmp_path: Path) -> None:
    """Never wrong bytes: a new generation, and why."""
    with served(tmp_path) as bench:
        host = bench.attach()
        host.write(0, noise(4))
    path = tmp_path / "device.state"
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with served(tmp_path) as bench:
        assert origin(bench).startswith("new: the saved state was damaged: section media does not match")
        assert refused(lambda: again(host, bench).read(0, 1)).reason == "STALE_GENERATION"
    assert (tmp_path / "device.state.damaged").read_bytes() == damaged


def test_a_reset_is_no_restore(tmp_path: Path) -> None:
    """The generation that it begins says so, and is saved as any."""
    with served(tmp_path) as bench:
        bench.attach()
    with served(tmp_path) as bench:
        bench.reset()
        assert origin(bench) == "new: a reset"
        host = bench.attach()
        host.write(0, prose(1))
    with served(tmp_path) as bench:
        assert again(host, bench).read(0, 1) == prose(1)


def test_a_device_of_another_kind_does_not_start(tmp_path: Path) -> None:
    """A slip in the settings must not cost the pages: the state stays as it is."""
    with served(tmp_path) as bench:
        host = bench.attach()
        host.write(0, prose(1))
    with (
        pytest.raises(StateError, match="physical 1048576, not 2097152"),
        served(tmp_path, physical=2 * MIB),
    ):
        pytest.fail("it serves")
    with served(tmp_path) as bench:
        assert again(host, bench).read(0, 1) == prose(1)


def test_two_devices_cannot_share_a_folder(tmp_path: Path) -> None:
    """The second one says who has it."""
    with (
        served(tmp_path),
        pytest.raises(StateError, match="another cxldevd uses it"),
        served(tmp_path),
    ):
        pytest.fail("it serves")


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """One line."""
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="Not a directory"), served(tmp_path / "file" / "folder"):
        pytest.fail("it serves")
