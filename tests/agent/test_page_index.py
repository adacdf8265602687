"""The list that the pattern draws from."""

from __future__ import annotations

import random

from cramagent.page_index import PageIndex


def test_it_holds_each_page_once() -> None:
    """Adding twice is adding once; removing what is not there is nothing."""
    index = PageIndex()
    index.add([(0, 1)])
    index.add([(0, 1)])
    index.remove((0, 2))
    assert len(index) == 1
    assert (0, 1) in index
    assert index[0] == (0, 1)


def test_it_agrees_with_a_set() -> None:
    """Through many additions and removals."""
    index, model, drawn = PageIndex(), set[tuple[int, int]](), random.Random(1)
    for _ in range(2000):
        page = (drawn.randrange(2), drawn.randrange(50))
        if drawn.random() < 0.5:
            index.add([page])
            model.add(page)
        else:
            index.remove(page)
            model.discard(page)
        assert len(index) == len(model)
    assert {index[position] for position in range(len(index))} == model
