"""Registered models: find a card by name, find out whether the model can run here, name its source, load it.

Families are entry points of the group ``hbcoop_dist.models``, those of this package too. A family that cannot be
imported is reported with its reason and does not affect the others.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib.util
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import ModelCard, ModelError, ModelFamily, Potential

ENTRY_POINT_GROUP = "hbcoop_dist.models"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that can run, here or on workers.

    Attributes
    ----------
    card : ModelCard
    identity : str
        Hash of its parameters.
    path : str or None
        Path of its checkpoint; None when the parameters are part of a package.
    here : bool
        Whether its packages are installed in this Python, and not only in that of its workers.
    """

    card: ModelCard
    identity: str
    path: str | None = None
    here: bool = True

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.card.name

    @property
    def licence(self) -> str:
        """Terms under which its parameters are published."""
        return self.card.about.licence

    @property
    def citation(self) -> str:
        """Publication to cite."""
        return self.card.about.citation

    @property
    def needs(self) -> Requirements:
        """Packages, Python environment and GPU."""
        return self.card.needs


@dataclass(frozen=True, slots=True)
class PackageSource:
    """Packages that compute something without being a model, e.g. descriptors or the training of networks.

    Attributes
    ----------
    name : str
        Name in specs and stores.
    licence, citation : str
        Terms of use of the packages, and what to cite.
    needs : Requirements
        Packages, Python environment and GPU.
    identity : str
        Hash of the name and of the versions of the packages; another version changes the task keys.
    here : bool
        Whether the packages are installed in this Python, and not only in that of the workers.
    """

    name: str
    licence: str
    citation: str
    needs: Requirements
    identity: str
    here: bool = True


def find_source(
    card: ModelCard, checkpoint: str | os.PathLike[str] | None = None, elsewhere: Collection[str] = ()
) -> ModelSource | str:
    """Find a model's parameters, or the reason why it is skipped.

    Parameters
    ----------
    card : ModelCard
    checkpoint : path, optional
        Path of its parameters in the spec.
    elsewhere : collection of str
        Python environments that workers have; models that need one of them need no packages here.

    Returns
    -------
    ModelSource or str
        A reason, where a package is not installed or published parameters were not fetched.

    Raises
    ------
    ModelError
        When a checkpoint that the user gave is not found, not the expected one or not trusted.
    """
    here = card.needs.environment not in elsewhere
    state = available(card, checkpoint, here=here)
    if not state:
        # A missing package skips the model; a user's own checkpoint that cannot be used is a mistake in the spec.
        if checkpoint is not None and not (here and missing_modules(card.needs)):
            raise ModelError(state.reason)
        return state.reason
    if card.checkpoint.file is None and checkpoint is None:
        return ModelSource(card, checkpoints.identity(card), here=here)
    parameters = checkpoints.find(card, checkpoint)
    return ModelSource(card, parameters.sha256, str(parameters.path), here)


def find_packages(
    name: str, licence: str, citation: str, needs: Requirements, elsewhere: Collection[str] = ()
) -> PackageSource | str:
    """Find packages that are no model, or the reason why they cannot be used.

    Parameters
    ----------
    name, licence, citation, needs
        As in `PackageSource`.
    elsewhere : collection of str
        Python environments that workers have.

    Returns
    -------
    PackageSource or str
        A reason, where a package is neither installed here nor available to workers.
    """
    here = needs.environment not in elsewhere
    reason = missing_modules(needs) if here else ""
    if reason:
        return reason
    # Versions in the Python of other workers are not known to the planner.
    versions = installed_versions(needs.packages) if here else {}
    content = {"name": name, "environment": needs.environment, "versions": versions}
    identity = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return PackageSource(name, licence, citation, needs, identity, here)


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those of the distributions that are installed in this Python, by name.

    Parameters
    ----------
    packages : iterable of str
    """
    versions = {}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a model can run here, and if not, why; true when it can."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True, slots=True)
class _Registry:
    """Families by entry point name, cards by model name, and reasons why other entry points cannot be used."""

    families: Mapping[str, ModelFamily]
    cards: Mapping[str, ModelCard]
    broken: Mapping[str, str]


@functools.cache
def _registry() -> _Registry:
    families: dict[str, ModelFamily] = {}
    cards: dict[str, ModelCard] = {}
    broken: dict[str, str] = {}
    # The families of this package come first, so that no other distribution can take their names.
    points = entry_points(group=ENTRY_POINT_GROUP)
    for point in sorted(points, key=lambda point: not point.value.startswith("hbcoop_dist.")):
        try:
            family = _checked(point.name, point.load(), families, cards)
        except (Exception, SystemExit) as error:  # noqa: BLE001  importing another distribution may raise anything
            broken[point.name] = f"entry point {point.name} = {point.value}: {type(error).__name__}: {error}"
        else:
            families[point.name] = family
            cards.update({card.name: card for card in family.cards})
    return _Registry(families, cards, broken)


def _checked(
    name: str, family: object, families: Mapping[str, ModelFamily], cards: Mapping[str, ModelCard]
) -> ModelFamily:
    if not isinstance(family, ModelFamily):
        raise ModelError(f"family {name}: expected an instance of ModelFamily, found {type(family).__name__}")
    if not isinstance(family.cards, tuple) or not all(isinstance(card, ModelCard) for card in family.cards):
        raise ModelError(f"family {name}: expected cards, a tuple of ModelCard, found {type(family.cards).__name__}")
    if name in families:
        raise ModelError(f"family {name}: expected a new name, found a registered family of that name")
    if taken := sorted({card.name for card in family.cards} & set(cards)):
        raise ModelError(f"family {name}: expected new model names, found registered models {', '.join(taken)}")
    if foreign := sorted({card.family for card in family.cards} - {name}):
        raise ModelError(f"family {name}: expected cards of that family, found family {', '.join(foreign)}")
    return family


def refresh() -> None:
    """Read the entry points anew at the next call, after a distribution was installed."""
    _registry.cache_clear()


def cards() -> dict[str, ModelCard]:
    """Cards of all registered models by name, those of this package first."""
    return dict(_registry().cards)


def family_names() -> tuple[str, ...]:
    """Entry point names of all families, those that cannot be used too."""
    return (*_registry().families, *_registry().broken)


def broken_families() -> dict[str, str]:
    """Reasons why families cannot be used, by entry point name."""
    return dict(_registry().broken)


def card(name: str) -> ModelCard:
    """Find a card by name.

    Parameters
    ----------
    name : str
        A registered name, or one that describes the model (`ModelFamily.named`).

    Raises
    ------
    ModelError
        When no model has that name; the message lists similar names and the families that cannot be used.
    """
    registry = _registry()
    if name in registry.cards:
        return registry.cards[name]
    for family in registry.families.values():
        if (described := family.named(name)) is not None:
            return described
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
    *,
    like: str | None = None,
    options: Mapping[str, object] | None = None,
    sha256: str | None = None,
    trusted: bool = False,
) -> ModelCard:
    """Make the card of a user's checkpoint of a registered family.

    Parameters
    ----------
    name, family, checkpoint
        As in the spec's ``{name, family, checkpoint}``. The card contains no path: pass it to `available`, `load` and
        `checkpoints.find` too.
    like : str, optional
        Registered model of the family whose architecture the checkpoint has; the family's first one by default.
    options : mapping, optional
        Settings of the family, e.g. ``head`` of MACE networks with several heads.
    sha256 : str, optional
        Expected hash of the checkpoint.
    trusted : bool
        Whether the user vouches for a checkpoint that can run code when it is read.

    Raises
    ------
    ModelError
        When the family is unknown or reads no checkpoints, the name is taken, `like` is none of the family's models,
        or the family has no such setting.
    """
    registry = _registry()
    if family not in registry.families:
        near = difflib.get_close_matches(family, registry.families, n=3, cutoff=0.5) or sorted(registry.families)
        raise ModelError(f"model {name}: family {family!r} is not known; near: {', '.join(near)}")
    if name in registry.cards:
        raise ModelError(f"model {name}: that name belongs to a registered model; choose another")
    loader, path = registry.families[family], Path(checkpoint).expanduser()
    if (described := loader.card_of(name, path)) is not None:
        if like or options:
            raise ModelError(f"model {name}: expected neither like nor options for family {family}, found them")
        return described.with_fields(sha256=sha256, trusted=trusted)
    if not loader.cards:
        raise ModelError(f"model {name}: expected a family that reads checkpoints, found {family}")
    template = _template(name, loader, like)
    if foreign := sorted(set(options or ()) - set(loader.settings)):
        expected = (
            f"options among {', '.join(loader.settings)}" if loader.settings else f"no options of family {family}"
        )
        raise ModelError(f"model {name}: expected {expected}, found {', '.join(foreign)}")
    if template.checkpoint.file is None and "embedded" not in template.options:
        raise ModelError(f"model {name}: family {family} has its parameters built in and reads no checkpoint")
    return template.with_fields(
        name=name,
        level_of_theory=f"user-supplied parameters of family {family}",
        licence="unknown (user-supplied)",
        citation=f"method: {template.about.citation}",
        options={**{key: v for key, v in template.options.items() if key != "embedded"}, **(options or {})},
        file=path.name,
        sha256=sha256,
        url=None,
        trusted=trusted,
    )


def _template(name: str, family: ModelFamily, like: str | None) -> ModelCard:
    offered = {card.name: card for card in family.cards}
    if like is None:
        return family.cards[0]
    if like not in offered:
        raise ModelError(f"model {name}: expected like to be one of {', '.join(offered)}, found {like!r}")
    return offered[like]


def available(model: ModelCard, checkpoint: str | os.PathLike[str] | None = None, *, here: bool = True) -> Availability:
    """Find out whether a model can run: its modules are installed, its parameters are found and verified.

    No model package is imported.

    Parameters
    ----------
    model : ModelCard
    checkpoint : path, optional
        Path of its parameters in the spec.
    here : bool
        Whether the model is to run in this Python; the modules of another one cannot be looked for.
    """
    registry = _registry()
    if model.family not in registry.families:
        reason = registry.broken.get(model.family, f"family {model.family} is not known")
        return Availability(False, reason)
    if here and (reason := missing_modules(model.needs)):
        return Availability(False, reason)
    try:
        sha256 = checkpoints.identity(model, checkpoint)
    except checkpoints.CheckpointError as error:
        return Availability(False, str(error))
    published = {card.checkpoint.sha256 for card in registry.cards.values() if card.checkpoint.pickled}
    info = model.checkpoint
    if info.pickled and not (info.trusted or info.sha256 or sha256 in published):
        return Availability(False, _untrusted(model, sha256))
    return Availability(True)


def missing_modules(needs: Requirements) -> str:
    """Why this Python does not meet the requirements on modules, and what to do; empty when it does.

    Parameters
    ----------
    needs : Requirements
    """
    missing = [module for module in needs.modules if not _installed(module)]
    if not missing:
        return ""
    if needs.environment == "main":
        remedy = "environment 'main', from requirements.lock, has it"
    else:
        remedy = (
            f"environment {needs.environment!r} has it, from environments/{needs.environment}.txt "
            f"(make environment-{needs.environment}), and a worker pool with that environment runs it (--cluster)"
        )
    return f"needs {', '.join(missing)}, not installed here; {remedy}"


def _untrusted(model: ModelCard, sha256: str) -> str:
    return (
        f"model {model.name}: a checkpoint of family {model.family} is a pickle, which can run any code when it is "
        f"read, and this one belongs to no registered model (sha256 {sha256}). If you trust its origin, add trust: "
        f"true or sha256: ... to the model in the spec"
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
    model : str or ModelCard
        Name or card.
    checkpoint : path, optional
        Path of its parameters; by default they are searched for as `checkpoints.find` describes.
    device : str
        ``cpu``, ``cuda`` or ``cuda:1``; families without a GPU code path refuse anything but ``cpu``.

    Raises
    ------
    ModelError
        When the model cannot run here.
    """
    chosen = card(model) if isinstance(model, str) else model
    if not (state := available(chosen, checkpoint)):
        raise ModelError(f"model {chosen.name} cannot run here: {state.reason}")
    path = None
    if chosen.checkpoint.file is not None or checkpoint is not None:
        path = checkpoints.find(chosen, checkpoint).path
    family = _registry().families[chosen.family]
    return family.load(chosen, path, device, chosen.abilities.dtype)
