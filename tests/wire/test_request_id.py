"""Names of calls: what may stand in a log, and what both ends come to by themselves."""

from __future__ import annotations

import pytest

from cramwire.request_id import RequestIds, command_id, lane_name, message_id, request_id_of


def test_ids_of_one_process_count_up() -> None:
    """Behind a prefix that tells it from others."""
    ids, others = RequestIds(), RequestIds()
    assert [ids.draw(), ids.draw()] == [f"{ids.prefix}-1", f"{ids.prefix}-2"]
    assert others.prefix != ids.prefix


@pytest.mark.parametrize("name", ["1f2e3d4c-17", "lane:546bafc1-2", "a.b_c", "x" * 64])
def test_a_name_is_taken_from_the_metadata(name: str) -> None:
    """Beside whatever else is there."""
    assert request_id_of((("authorization", "Bearer x"), ("cram-request-id", name))) == name


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "line\nline", "Grüße", '"', b"bytes"])
def test_what_may_not_stand_in_a_log_is_passed_over(name: str | bytes) -> None:
    """It comes from whoever calls."""
    assert request_id_of((("cram-request-id", name),)) == ""


def test_no_metadata_is_no_name() -> None:
    """Then there is none."""
    assert request_id_of(()) == ""


def test_a_name_made_of_bytes_is_one_that_may_stand_in_a_log() -> None:
    """The same bytes have the same one."""
    name = message_id(b"request")
    assert name == message_id(b"request") != message_id(b"requesT")
    assert request_id_of((("cram-request-id", name),)) == name


def test_a_command_is_named_by_its_lane() -> None:
    """Of the token, only a part is told."""
    assert command_id(lane_name(bytes(range(16))), 7) == "lane:00010203-7"
