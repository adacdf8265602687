"""Parsed JSON documents, held as Python objects, edited one by one: fields change, lists grow and shrink."""

from __future__ import annotations

import json
import random
from typing import Any

from cramlab.programs.paced import MIB, Options, parse_options, run_until_told

_FIRST = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Frances", "Ken", "Radia", "Linus", "Margaret")
_TAGS = ("draft", "review", "final", "urgent", "archive", "shared", "private", "legal", "finance", "travel")
_ENTRIES = 40
_BYTES_PER_DOCUMENT = 34_000
"""What one document takes as Python objects, measured with CPython 3.11; it only sets how many there are."""
_EDITS = 3
_REPLACE_EVERY = 4


class Documents:
    """A fixed number of documents."""

    def __init__(self, options: Options) -> None:
        self._random = random.Random(options.seed)
        self._steps = 0
        self._documents: list[dict[str, Any]] = [
            self._parsed(number) for number in range(options.mib * MIB // _BYTES_PER_DOCUMENT)
        ]

    def step(self) -> None:
        """A few fields of some documents change; now and then one is replaced by a new version."""
        draw = self._random
        for _ in range(_EDITS):
            document = draw.choice(self._documents)
            entry = draw.choice(document["entries"])
            entry["amount"] = draw.random() * 1000
            entry["tags"] = draw.sample(_TAGS, 3)
            document["version"] += 1
        self._steps += 1
        if self._steps % _REPLACE_EVERY == 0:
            number = draw.randrange(len(self._documents))
            self._documents[number] = self._parsed(number)

    def describe(self) -> str:
        """What it holds, for the log."""
        entries = sum(len(document["entries"]) for document in self._documents)
        return f"{len(self._documents)} documents with {entries} entries"

    def _parsed(self, number: int) -> dict[str, Any]:
        """A document as it comes from a file or a peer: parsed from text, nothing shared."""
        draw = self._random
        entries = [
            {
                "id": f"{number:06d}-{position:04d}",
                "author": draw.choice(_FIRST),
                "amount": round(draw.random() * 1000, 2),
                "tags": draw.sample(_TAGS, 2),
                "text": " ".join(draw.choices(_TAGS + _FIRST, k=30)),
            }
            for position in range(_ENTRIES + draw.randint(-5, 5))
        ]
        text = json.dumps({"number": number, "version": 0, "entries": entries})
        parsed: dict[str, Any] = json.loads(text)
        return parsed


def main() -> None:
    """Parse, then edit until told to end."""
    options = parse_options(__doc__ or "", mib=28, rate=12)
    documents = Documents(options)
    run_until_told(options, documents.step, documents.describe)


if __name__ == "__main__":
    main()
