"""An in-memory SQLite database of orders: rows come, change and go; reports are drawn over all of them."""

from __future__ import annotations

import random
import sqlite3

from cramlab.programs.paced import MIB, Options, parse_options, run_until_told

_STATES = ("new", "paid", "packed", "sent", "returned")
_WORDS = ("blue", "small", "gift", "fragile", "express", "invoice", "paper", "spare", "kitchen", "garden")
_STEP_ROWS = 20
_REPORT_EVERY = 50


class Store:
    """A table that is kept at the size it was filled to."""

    def __init__(self, options: Options) -> None:
        self._random = random.Random(options.seed)
        self._database = sqlite3.connect(":memory:")
        self._database.execute(
            "CREATE TABLE orders "
            "(id INTEGER PRIMARY KEY, customer INTEGER, state TEXT, note TEXT, token BLOB)"
        )
        self._database.execute("CREATE INDEX by_customer ON orders (customer)")
        self._newest = 0
        self._oldest = 1
        self._steps = 0
        while self._bytes() < options.mib * MIB:
            self._insert(1000)

    def step(self) -> None:
        """Some orders move on, a few come, the oldest go, and now and then somebody wants a report."""
        draw = self._random
        changes = [
            (draw.choice(_STATES), draw.randint(self._oldest, self._newest)) for _ in range(_STEP_ROWS)
        ]
        self._database.executemany("UPDATE orders SET state = ? WHERE id = ?", changes)
        self._insert(_STEP_ROWS // 4)
        self._oldest += _STEP_ROWS // 4
        self._database.execute("DELETE FROM orders WHERE id < ?", (self._oldest,))
        self._database.commit()
        self._steps += 1
        if self._steps % _REPORT_EVERY == 0:
            self._database.execute("SELECT state, count(*), max(id) FROM orders GROUP BY state").fetchall()

    def describe(self) -> str:
        """What it holds, for the log."""
        rows = self._database.execute("SELECT count(*) FROM orders").fetchone()[0]
        return f"{rows} orders in {self._bytes() / MIB:.1f} MiB of database"

    def _insert(self, rows: int) -> None:
        draw = self._random
        orders = []
        for _ in range(rows):
            self._newest += 1
            note = " ".join(draw.choices(_WORDS, k=draw.randint(5, 30)))
            orders.append((self._newest, draw.randint(1, 5000), _STATES[0], note, draw.randbytes(24)))
        self._database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
        self._database.commit()

    def _bytes(self) -> int:
        pages: int = self._database.execute("PRAGMA page_count").fetchone()[0]
        page: int = self._database.execute("PRAGMA page_size").fetchone()[0]
        return pages * page


def main() -> None:
    """Fill, then work until told to end."""
    options = parse_options(__doc__ or "", mib=28, rate=10)
    store = Store(options)
    run_until_told(options, store.step, store.describe)


if __name__ == "__main__":
    main()
