"""Sizes and times as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cramwire.units import format_bytes, format_duration, parse_bytes, parse_duration


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("64KiB", 64 << 10),
        ("64k", 64 << 10),
        ("512M", 512 << 20),
        ("1.5GiB", 3 << 29),
        (" 2 TB ", 2 << 40),
        ("0", 0),
    ],
)
def test_sizes_are_powers_of_1024_with_or_without_the_i(text: str, size: int) -> None:
    """K, M, G and T mean what they mean in the kernel."""
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", "1.5", "64 parsecs", "1e6", "0x1000", "64MiB extra", "nan"]
)
def test_what_is_no_size_says_how_to_write_one(text: str) -> None:
    """The message names the text and shows good ones."""
    with pytest.raises(ValueError, match=r"not a size: write 4096|not a whole number of bytes") as caught:
        parse_bytes(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ns", 250),
        ("1.5us", 1_500),
        ("20ms", 20_000_000),
        ("3s", 3_000_000_000),
        ("5min", 300_000_000_000),
        ("5m", 300_000_000_000),
        ("1h", 3_600_000_000_000),
    ],
)
def test_times_carry_their_unit(text: str, ns: int) -> None:
    """Everything becomes ns."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 fortnight", "1s 2ms"])
def test_a_time_without_a_unit_is_refused(text: str) -> None:
    """`5` could be anything."""
    with pytest.raises(ValueError, match="is not a time: write 250ns"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_plain_number_is_bytes(size: int) -> None:
    """Exact, whatever its length."""
    assert parse_bytes(str(size)) == size


def test_sizes_and_times_are_exact() -> None:
    """A float has 53 bits."""
    assert parse_bytes("9007199254740993") == 2**53 + 1
    assert parse_bytes("8796093022208.5KiB") == 2**53 + 512
    assert parse_duration("9007199254740993ns") == 2**53 + 1
    assert parse_bytes(str(2**64 - 1)) == 2**64 - 1


@pytest.mark.parametrize("digits", [20, 400, 5000])
def test_what_the_wire_cannot_hold_is_refused_in_one_short_line(digits: int) -> None:
    """However long the number is."""
    for parse, text in ((parse_bytes, "9" * digits), (parse_duration, "9" * digits + "h")):
        with pytest.raises(ValueError, match="is too large") as caught:
            parse(text)
        assert len(str(caught.value)) < 150


def test_other_digits_are_none() -> None:
    """Only those of ASCII."""
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes("\u0661\u0662")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1 << 20, "1.0 MiB"), (3 << 29, "1.5 GiB"), (5 << 40, "5.0 TiB")],
)
def test_bytes_are_shown_in_the_largest_unit_that_fits(size: int, text: str) -> None:
    """One decimal is enough for people."""
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("ns", "text"), [(0, "0 ns"), (999, "999 ns"), (1_500, "1.5 us"), (2_000_000, "2.0 ms"), (3e9, "3.0 s")]
)
def test_times_are_shown_in_the_largest_unit_that_fits(ns: float, text: str) -> None:
    """One decimal is enough for people."""
    assert format_duration(ns) == text
