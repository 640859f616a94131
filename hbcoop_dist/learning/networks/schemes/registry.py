"""Find a scheme by name: ours, and those of other distributions (entry points of group ``hbcoop_dist.schemes``)."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from hbcoop_dist.learning.networks.schemes.base import Scheme

ENTRY_POINT_GROUP = "hbcoop_dist.schemes"
_HERE = "hbcoop_dist.learning.networks.schemes"
BUILTIN_SCHEMES = {
    "none": f"{_HERE}.none",
    "charge-embedding": f"{_HERE}.charge_embedding",
    "les": f"{_HERE}.les",
    "celli": f"{_HERE}.celli",
    "efa": f"{_HERE}.efa",
}
"""Module of every scheme by name, imported when it is asked for; the class in it has the same name."""


def scheme_of(name: str) -> type[Scheme]:
    """The class of a scheme.

    Raises
    ------
    ValueError
        When there is none of that name (the message lists those there are), or what is there is no scheme.
    """
    if name in BUILTIN_SCHEMES:
        module = importlib.import_module(BUILTIN_SCHEMES[name])
        return next(_checked(name, one) for one in vars(module).values() if _is_called(name, one))
    others = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name in others:
        return _checked(name, others[name].load())
    raise ValueError(f"scheme: expected one of {', '.join(sorted({*BUILTIN_SCHEMES, *others}))}, found {name!r}")


def _is_called(name: str, one: object) -> bool:
    return isinstance(one, type) and issubclass(one, Scheme) and one is not Scheme and one.name == name


def _checked(name: str, found: object) -> type[Scheme]:
    if not (isinstance(found, type) and issubclass(found, Scheme)):
        raise ValueError(f"scheme {name}: expected a class of Scheme, found {found!r}")
    return found
