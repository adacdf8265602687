"""Poison: the bytes of stored pages are lost, and a later read finds out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoisonFault:
    """Poison these pages of a host, or, if none is named, pages drawn at random. Done at once, not held."""

    host: str
    dpas: tuple[int, ...] = ()
    random_pages: int = 0
    seed: int = 0
