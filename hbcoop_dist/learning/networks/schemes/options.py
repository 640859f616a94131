"""Read a scheme's options: a spec is written by hand, so a wrong word is named together with the words that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def read(name: str, options: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Options of scheme `name`, with defaults where none is given.

    Raises
    ------
    ValueError
        If an option is none of the defaults'.
    """
    given = dict(options or {})
    if unknown := sorted(set(given) - set(defaults)):
        known = ", ".join(sorted(defaults))
        raise ValueError(f"scheme {name}: expected options among {known}, found {', '.join(unknown)}")
    return {**defaults, **given}


def choice(name: str, option: str, value: Any, among: Sequence[str]) -> str:
    """`value` if it is one of `among`; ValueError otherwise."""
    if value not in among:
        raise ValueError(f"scheme {name}: option {option}: expected one of {', '.join(among)}, found {value!r}")
    return str(value)


def flag(name: str, option: str, value: Any) -> bool:
    """`value` if it is true or false; ValueError otherwise."""
    if not isinstance(value, bool):
        raise ValueError(f"scheme {name}: option {option}: expected true or false, found {value!r}")
    return value


def positive(name: str, option: str, value: Any) -> float:
    """`value` if it is a number above zero; ValueError otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"scheme {name}: option {option}: expected a number above 0, found {value!r}")
    return float(value)


def whole(name: str, option: str, value: Any, *, least: int, below: int | None = None) -> int:
    """`value` if it is an integer from `least`, and below `below` if that is given; ValueError otherwise."""
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    if not fits or (below is not None and value >= below):
        bounds = f"from {least}" if below is None else f"from {least} to {below - 1}"
        raise ValueError(f"scheme {name}: option {option}: expected an integer {bounds}, found {value!r}")
    return int(value)
