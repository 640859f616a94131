"""Temporary."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import checkpoints, registry
from hbcoop_dist.models.base import ModelCard, ModelError


@dataclass(frozen=True, slots=True)
class ModelSource:
    card: ModelCard
    identity: str
    path: str | None = None
    here: bool = True

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def licence(self) -> str:
        return self.card.licence

    @property
    def citation(self) -> str:
        return self.card.citation

    @property
    def needs(self) -> Requirements:
        return Requirements(self.card.requires, self.card.packages, self.card.environment, self.card.gpu)


def find_source(card: ModelCard, checkpoint: str | None = None, elsewhere: Collection[str] = ()) -> ModelSource | str:
    here = card.environment not in elsewhere
    usable = registry.available(card, checkpoint, here=here)
    if not usable.ok:
        if checkpoint is not None and not (here and registry.missing_modules(card)):
            raise ModelError(usable.reason)
        return usable.reason
    if card.checkpoint is None and checkpoint is None:
        return ModelSource(card, checkpoints.identity(card), here=here)
    found = checkpoints.find(card, checkpoint)
    return ModelSource(card, found.sha256, str(found.path), here)


@dataclass(frozen=True, slots=True)
class PackageSource:
    name: str
    licence: str
    citation: str
    needs: Requirements
    identity: str
    here: bool = True


def find_packages(name, licence, citation, needs, elsewhere=()):  # type: ignore
    from types import SimpleNamespace

    here = needs.environment not in elsewhere
    reason = (
        registry.missing_modules(SimpleNamespace(requires=needs.modules, environment=needs.environment, name=name))
        if here
        else ""
    )
    return reason or PackageSource(name, licence, citation, needs, "x", here)
