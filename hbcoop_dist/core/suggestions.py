"""A level of theory is long to type: what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(name: str, known: Iterable[str]) -> str:
    """End of a complaint: the names that look like `name`, or nothing."""
    found = get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; near: {', '.join(found)}" if found else ""
