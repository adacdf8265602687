"""What both ends agree on before the first call."""

import os
import subprocess
import sys

import pytest

from cramwire.transport import CHANNEL_OPTIONS, MESSAGE_BYTES, SERVER_OPTIONS, tune_grpc, tune_malloc


def test_malloc_takes_the_settings_here() -> None:
    """Glibc answers 1 to each option."""
    assert tune_malloc() is True


def test_grpc_is_told_in_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It complains of switches that it does not know."""
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    assert tune_grpc() is True
    code = "import grpc; grpc.insecure_channel('localhost:1').close()"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)
    assert ended.stderr == b""


def test_what_the_environment_says_of_grpc_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who debugs grpc knows better."""
    monkeypatch.setenv("GRPC_EXPERIMENTS", "")
    assert tune_grpc() is False
    assert os.environ["GRPC_EXPERIMENTS"] == ""


def test_other_releases_of_grpc_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may not have these switches."""
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    monkeypatch.setattr("cramwire.transport.version", lambda _name: "1.99.0")
    assert tune_grpc() is False
    assert "GRPC_EXPERIMENTS" not in os.environ


def test_the_malloc_settings_come_without_grpc() -> None:
    """They must act before grpc allocates, so importing them may not import it."""
    code = "import sys, cramwire.transport; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_full_request_fits_a_message() -> None:
    """1024 pages, 8 bytes of address each, and room for the rest."""
    assert MESSAGE_BYTES >= 1024 * (4096 + 8) + 1024
    for options in (CHANNEL_OPTIONS, SERVER_OPTIONS):
        assert dict(options)["grpc.max_receive_message_length"] == MESSAGE_BYTES
