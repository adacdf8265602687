"""A table of a scenario file, read key by key: every mistake is told with its line."""

from __future__ import annotations

import difflib
import tomllib
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, overload

from cramlab.scenario.lines import line_index
from cramlab.scenario.problem import ScenarioError
from cramwire.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from cramlab.scenario.lines import Path as KeyPath

_T = TypeVar("_T")

_MOST_WORDS: Final = 16


class Table:
    """Values of one table. What was asked for is known; `finish` refuses what nobody asked for."""

    def __init__(
        self, file: Path, values: Mapping[str, Any], path: KeyPath, lines: Mapping[KeyPath, int]
    ) -> None:
        self.file = file
        self._values = values
        self._path = path
        self._lines = lines
        self._asked: list[str] = []

    @classmethod
    def root(cls, file: Path, text: str) -> Table:
        """The whole file.

        Raises:
            ScenarioError: it is no TOML.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ScenarioError(file, _line_of(error, text), f"not TOML: {error}") from None
        return cls(file, values, (), line_index(text))

    # -- where ------------------------------------------------------------------------------------

    def line(self, key: str | None = None) -> int:
        """Where the key stands; the table, if there is no such key."""
        path = self._path if key is None else (*self._path, key)
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def fail(self, message: str, key: str | None = None) -> NoReturn:
        """Refuse the file, for what stands at this key."""
        raise ScenarioError(self.file, self.line(key), message if key is None else f"{key}: {message}")

    # -- what -------------------------------------------------------------------------------------

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def keys(self) -> list[str]:
        """All that the file gives here, in its order."""
        return list(self._values)

    def raw(self, key: str) -> Any:
        """The value as TOML has it."""
        self._asked.append(key)
        return self._values[key]

    @overload
    def text(self, key: str) -> str: ...
    @overload
    def text(self, key: str, default: _T) -> str | _T: ...
    def text(self, key: str, default: Any = ...) -> Any:
        """A string."""
        return self._value(key, str, "a string", default)

    @overload
    def whole(self, key: str) -> int: ...
    @overload
    def whole(self, key: str, default: _T) -> int | _T: ...
    def whole(self, key: str, default: Any = ...) -> Any:
        """A whole number, 0 or above."""
        value = self._value(key, int, "a whole number", default)
        if key in self and value < 0:
            self.fail(f"{value} is below 0", key)
        return value

    def flag(self, key: str) -> bool:
        """True or false; false if the file does not say."""
        return bool(self._value(key, bool, "true or false", default=False))

    @overload
    def duration(self, key: str) -> int: ...
    @overload
    def duration(self, key: str, default: _T) -> int | _T: ...
    def duration(self, key: str, default: Any = ...) -> Any:
        """A time as `"20ms"`, in ns; 0 needs no unit."""
        if key in self and self._values[key] in (0, "0"):
            self._asked.append(key)
            return 0
        text = self._value(key, str, 'a time with its unit, as "20ms"', default)
        return self.parsed(key, parse_duration) if isinstance(text, str) and key in self else text

    def parsed(self, key: str, parse: Callable[[str], _T]) -> _T:
        """A value whose text `parse` reads; what its ValueError says is the error."""
        try:
            return parse(str(self.raw(key)))
        except ValueError as error:
            self.fail(str(error), key)

    def table(self, key: str) -> Table:
        """A table within; an empty one if the file does not have it."""
        self._asked.append(key)
        values = self._values.get(key, {})
        if not isinstance(values, dict):
            self.fail("must be a table", key)
        return Table(self.file, values, (*self._path, key), self._lines)

    def named_tables(self, key: str) -> Iterator[tuple[str, Table]]:
        """`[key.NAME]` for every NAME."""
        outer = self.table(key)
        for name in outer.keys():  # noqa: SIM118 - a Table is no mapping
            yield name, outer.table(name)

    def tables(self, key: str) -> Iterator[Table]:
        """`[[key]]`, one after the other."""
        self._asked.append(key)
        rows = self._values.get(key, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            self.fail(f"write each as a table of its own, headed [[{key}]]", key)
        for index, row in enumerate(rows):
            yield Table(self.file, row, (*self._path, key, index), self._lines)

    def finish(self, also: Iterable[str] = ()) -> None:
        """Refuse keys that nobody asked for.

        Args:
            also: further keys that could have been given, to guess what was meant.
        """
        for key in self._values:
            if key not in self._asked:
                known = sorted({*self._asked, *also})
                raise ScenarioError(
                    self.file, self.line(key), f"unknown key {key!r}{did_you_mean(key, known)}"
                )

    def _value(self, key: str, kind: type, name: str, default: Any) -> Any:
        self._asked.append(key)
        if key not in self._values:
            if default is ...:
                self.fail(f"{key!r} is missing: {name}")
            return default
        value = self._values[key]
        # To Python a bool is an int; to people it is not.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(f"{value!r} is not {name}", key)
        return value


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or all of the known ones where nothing is near and they are few."""
    words = list(known)
    if near := difflib.get_close_matches(word, words, n=1):
        return f"; did you mean {near[0]!r}?"
    return f"; there is {', '.join(words)}" if 0 < len(words) <= _MOST_WORDS else ""


def _line_of(error: tomllib.TOMLDecodeError, text: str) -> int:
    """`tomllib` names the line in its message only, and the end of the file not at all."""
    _, _, rest = str(error).partition("(at line ")
    number = rest.partition(",")[0]
    return int(number) if number.isdecimal() else max(1, len(text.splitlines()))
