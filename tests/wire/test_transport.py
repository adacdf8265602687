"""What both ends agree on before the first call."""

import subprocess
import sys

from cramwire.transport import CHANNEL_OPTIONS, MESSAGE_BYTES, SERVER_OPTIONS, tune_malloc


def test_malloc_takes_the_settings_here() -> None:
    """Glibc answers 1 to each option."""
    assert tune_malloc() is True


def test_the_malloc_settings_come_without_grpc() -> None:
    """They must act before grpc allocates, so importing them may not import it."""
    code = "import sys, cramwire.transport; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_full_request_fits_a_message() -> None:
    """1024 pages, 8 bytes of address each, and room for the rest."""
    assert MESSAGE_BYTES >= 1024 * (4096 + 8) + 1024
    for options in (CHANNEL_OPTIONS, SERVER_OPTIONS):
        assert dict(options)["grpc.max_receive_message_length"] == MESSAGE_BYTES
