"""Suggest names that resemble a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, names: Iterable[str]) -> str:
    """End of an error message that lists the names which resemble `name`.

    Parameters
    ----------
    name : str
        The unknown name.
    names : iterable of str
        The valid names.

    Returns
    -------
    str
        For example ``; near: gfn2-xtb``; empty when nothing resembles `name`.
    """
    similar = get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f"; near: {', '.join(similar)}" if similar else ""
