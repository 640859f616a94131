"""Sources of results as the planner sees them: models with their parameters, and packages that are no models."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import checkpoints, registry
from hbcoop_dist.models.base import ModelCard, ModelError


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
    state = registry.available(card, checkpoint, here=here)
    if not state:
        # A missing package skips the model; a user's own checkpoint that cannot be used is a mistake in the spec.
        if checkpoint is not None and not (here and registry.missing_modules(card.needs)):
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
    reason = registry.missing_modules(needs) if here else ""
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
