"""Find models by name: the built-in families and those of other distributions (entry points), without loading them.

A distribution adds a family by an entry point of group ``hbcoop_dist.models`` that names a module with ``CARDS`` and
``load``.  One that cannot be imported is reported with its reason and disturbs nobody else.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Family, ModelCard, ModelError, Potential

ENTRY_POINT_GROUP = "hbcoop_dist.models"
BUILTIN_FAMILIES = ("so3lr", "ani", "mace", "orb", "aimnet", "sevennet", "xtb", "openmm", "pyscf", "toy", "ase")
_FILES = {"ase": "ase_calculator"}


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a model can run here, and if not, why; truthy when it can."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class _Registry:
    families: Mapping[str, Family]
    cards: Mapping[str, ModelCard]
    broken: Mapping[str, str]


@functools.cache
def _registry() -> _Registry:
    families: dict[str, Family] = {}
    known: dict[str, ModelCard] = {}
    broken: dict[str, str] = {}
    for name in BUILTIN_FAMILIES:
        _add(name, importlib.import_module(f"hbcoop_dist.models.families.{_FILES.get(name, name)}"), families, known)
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            _add(point.name, point.load(), families, known)
        except (Exception, SystemExit) as error:  # noqa: BLE001  another distribution's import may raise anything
            broken[point.name] = f"entry point {point.name} = {point.value}: {type(error).__name__}: {error}"
    return _Registry(families, known, broken)


def _add(name: str, family: object, families: dict[str, Family], known: dict[str, ModelCard]) -> None:
    offered = getattr(family, "CARDS", None)
    if not isinstance(offered, tuple) or not all(isinstance(card, ModelCard) for card in offered):
        raise ModelError(f"family {name}: expected CARDS, a tuple of ModelCard, found {type(offered).__name__}")
    if not callable(getattr(family, "load", None)):
        raise ModelError(f"family {name}: expected a function load, found none")
    if name in families:
        raise ModelError(f"family {name}: there is one of that name already")
    if taken := sorted({card.name for card in offered} & set(known)):
        raise ModelError(f"family {name}: models {', '.join(taken)} exist already")
    if foreign := sorted({card.family for card in offered} - {name}):
        raise ModelError(f"family {name}: expected cards of that family, found family {', '.join(foreign)}")
    families[name] = cast(Family, family)
    known.update({card.name: card for card in offered})


def refresh() -> None:
    """Forget what was found, so that the next call looks at the entry points again."""
    _registry.cache_clear()


def cards() -> dict[str, ModelCard]:
    """Every known card by name, built-in families first."""
    return dict(_registry().cards)


def broken_families() -> dict[str, str]:
    """Families of other distributions that cannot be used, by entry point name, each with its reason."""
    return dict(_registry().broken)


def card(name: str) -> ModelCard:
    """The card of a model.

    Raises
    ------
    ModelError
        When no model has that name; the message says which names are near, and which families are broken.
    """
    registry = _registry()
    if name in registry.cards:
        return registry.cards[name]
    for family in registry.families.values():
        if (spoken := getattr(family, "named", None)) and (found := spoken(name)):
            return cast(ModelCard, found)
    near = difflib.get_close_matches(name, registry.cards, n=3, cutoff=0.5)
    message = f"model {name!r} is not known"
    if ":" in name:
        message += "; quantum chemistry is METHOD:BASIS in lower case without spaces, e.g. rimp2:cc-pvdz:frozen-core"
    message += f"; near: {', '.join(near)}" if near else f"; known: {', '.join(sorted(registry.cards))}"
    for reason in registry.broken.values():
        message += f"; unavailable: {reason}"
    raise ModelError(message)


def custom_card(
    name: str,
    family: str,
    checkpoint: str | os.PathLike[str],
    overrides: Mapping[str, Any] | None = None,
    *,
    like: str | None = None,
    options: Mapping[str, Any] | None = None,
    sha256: str | None = None,
    trusted: bool = False,
) -> ModelCard:
    """A card for a user's own checkpoint of a known family: that of a model it is like, its origin unknown.

    Parameters
    ----------
    name, family, checkpoint
        As in the spec's ``{name, family, checkpoint}``; pass the path on to `available`, `load` and
        `checkpoints.find`, since a card holds no paths.
    overrides
        Other fields of `ModelCard` that differ from the family's first card, e.g. ``elements``.
    like
        Model of the family whose architecture it has; the family's first one unless given.
    options
        Settings of the family, e.g. ``head`` of MACE networks with several.
    sha256
        Of the checkpoint, where the user knows it: another file is refused then.
    trusted
        Whether the user vouches for a checkpoint that runs code when it is read.

    Raises
    ------
    ModelError
        When the family is unknown or reads no checkpoint, the name is taken, `like` is none of its models, or it has
        no such setting.
    """
    registry = _registry()
    if family not in registry.families:
        near = difflib.get_close_matches(family, registry.families, n=3, cutoff=0.5) or sorted(registry.families)
        raise ModelError(f"model {name}: family {family!r} is not known; near: {', '.join(near)}")
    if name in registry.cards:
        raise ModelError(f"model {name}: that name belongs to a registered model; choose another")
    if told := getattr(registry.families[family], "card_of", None):
        if like or options:
            raise ModelError(f"model {name}: family {family} has no options and no models to be like")
        card = cast(ModelCard, told(name, Path(checkpoint).expanduser()))
        return replace(card, **(overrides or {}), sha256=sha256, trusted=trusted)
    if not registry.families[family].CARDS:
        raise ModelError(f"model {name}: family {family} has no cards and reads no checkpoint")
    template = _template(name, family, like)
    known = getattr(registry.families[family], "SETTINGS", ())
    if foreign := sorted(set(options or ()) - set(known)):
        found = f"expected options among {', '.join(known)}" if known else f"family {family} has no options"
        raise ModelError(f"model {name}: {found}, found {', '.join(foreign)}")
    if template.checkpoint is None and "embedded" not in template.options:
        raise ModelError(f"model {name}: family {family} has its parameters built in and reads no checkpoint")
    fields: dict[str, Any] = {
        "level_of_theory": f"user-supplied parameters of family {family}",
        "licence": "unknown (user-supplied)",
        "citation": f"method: {template.citation}",
        "options": {**{key: v for key, v in template.options.items() if key != "embedded"}, **(options or {})},
        "url": None,
        **(overrides or {}),
    }
    fields |= {"name": name, "checkpoint": Path(checkpoint).name, "sha256": sha256, "trusted": trusted}
    return replace(template, **fields)


def _template(name: str, family: str, like: str | None) -> ModelCard:
    offered = {card.name: card for card in _registry().families[family].CARDS}
    if like is None:
        return next(iter(offered.values()))
    if like not in offered:
        raise ModelError(f"model {name}: expected like to be one of {', '.join(offered)}, found {like!r}")
    return offered[like]


def available(model: ModelCard, checkpoint: str | os.PathLike[str] | None = None, *, here: bool = True) -> Availability:
    """Whether a model can run in this Python: its modules are installed and its parameters are here and verified.

    Nothing heavy is imported.  With `here` False it is to run in another Python, whose modules cannot be looked for.
    """
    registry = _registry()
    if model.family not in registry.families:
        reason = registry.broken.get(model.family, f"family {model.family} is not known")
        return Availability(False, reason)
    if here and (reason := missing_modules(model)):
        return Availability(False, reason)
    try:
        found = checkpoints.identity(model, checkpoint)
    except checkpoints.CheckpointError as error:
        return Availability(False, str(error))
    known = {card.sha256 for card in registry.cards.values() if card.pickled}
    if model.pickled and not (model.trusted or model.sha256 or found in known):
        return Availability(False, _untrusted(model, found))
    return Availability(True)


def missing_modules(model: ModelCard) -> str:
    """What a model needs that is not installed in this Python, in words; empty when nothing is missing."""
    missing = [module for module in model.requires if not _installed(module)]
    return f"needs {', '.join(missing)}, not installed here; {_remedy(model)}" if missing else ""


def _untrusted(model: ModelCard, found: str) -> str:
    return (
        f"model {model.name}: a checkpoint of family {model.family} is a pickle, which can run any code when it is "
        f"read, and this one is no known model's (sha256 {found}). Where you know who made it, say trust: true, or "
        f"its sha256: ..., beside it in the spec"
    )


def _remedy(model: ModelCard) -> str:
    if model.environment == "main":
        return "environment 'main', from requirements.lock, has it"
    return (
        f"environment {model.environment!r} has it, from environments/{model.environment}.txt "
        f"(make environment-{model.environment}), and a worker pool with that environment runs it (--cluster)"
    )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def load(model: str | ModelCard, checkpoint: str | os.PathLike[str] | None = None, device: str = "cpu") -> Potential:
    """Load a model, in the float type of its card.

    Parameters
    ----------
    model
        Name or card.
    checkpoint
        Path of its parameters; None looks in the places of `checkpoints.find`.
    device
        ``cpu``, ``cuda`` or ``cuda:1``; families without a GPU code path refuse anything but ``cpu``.

    Raises
    ------
    ModelError
        When it cannot run here.
    """
    chosen = card(model) if isinstance(model, str) else model
    if not (state := available(chosen, checkpoint)):
        raise ModelError(f"model {chosen.name} cannot run here: {state.reason}")
    path = None
    if chosen.checkpoint is not None or checkpoint is not None:
        path = checkpoints.find(chosen, checkpoint).path
    return _registry().families[chosen.family].load(chosen, path, device=device, dtype=chosen.dtype)
