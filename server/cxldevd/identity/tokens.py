"""Bearer tokens: who shows which. A file of lines `NAME TOKEN`; `#` begins a comment."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from cxldevd.identity.files import CredentialsError, Reread

if TYPE_CHECKING:
    from pathlib import Path

LEAST_CHARACTERS: Final = 16
"""Of a token: shorter ones can be guessed. `openssl rand -hex 32` makes a good one."""


class TokenBook:
    """Names by token. One name may have several tokens, so that one can be replaced by the next.

    Raises:
        CredentialsError: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = Reread([path], lambda: _read(path))

    def name_of(self, token: str) -> str | None:
        """Whose token this is; None: nobody's."""
        return self._names.current().get(_digest(token))

    def shares_a_token_with(self, other: TokenBook) -> bool:
        """Whether one token stands in both."""
        return not self._names.current().keys().isdisjoint(other._names.current())


def _digest(token: str) -> bytes:
    """Tokens are looked up by digest: how long that takes tells nothing of the tokens that there are."""
    return hashlib.sha256(token.encode()).digest()


def _read(path: Path) -> dict[bytes, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CredentialsError(f"{path}: is no text") from None
    names: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        # Never the token itself: this is logged.
        if len(words) != 2:
            raise CredentialsError(f"{path}:{number}: is not NAME TOKEN")
        name, token = words
        if len(token) < LEAST_CHARACTERS or not token.isascii():
            raise CredentialsError(
                f"{path}:{number}: a token has {LEAST_CHARACTERS} or more ASCII characters"
            )
        if names.setdefault(_digest(token), name) != name:
            raise CredentialsError(f"{path}:{number}: {name} has the token of {names[_digest(token)]}")
    if not names:
        raise CredentialsError(f"{path}: has no token")
    return names
