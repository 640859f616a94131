"""Models: cards that are read without importing torch, and potentials that evaluate batches of structures."""

from hbcoop_dist.models.base import (
    Abilities,
    About,
    CheckpointInfo,
    Evaluation,
    ModelCard,
    ModelError,
    ModelFamily,
    Potential,
    SequentialPotential,
    UnknownElementError,
    require_elements,
)
from hbcoop_dist.models.checkpoints import Checkpoint, CheckpointError, identity
from hbcoop_dist.models.checks.contract import CheckResult, check
from hbcoop_dist.models.registry import Availability, available, broken_families, card, cards, custom_card, load
from hbcoop_dist.models.sources import ModelSource, PackageSource, find_packages, find_source

__all__ = [
    "Abilities",
    "About",
    "Availability",
    "CheckResult",
    "Checkpoint",
    "CheckpointError",
    "CheckpointInfo",
    "Evaluation",
    "ModelCard",
    "ModelError",
    "ModelFamily",
    "ModelSource",
    "PackageSource",
    "Potential",
    "SequentialPotential",
    "UnknownElementError",
    "available",
    "broken_families",
    "card",
    "cards",
    "check",
    "custom_card",
    "find_packages",
    "find_source",
    "identity",
    "load",
    "require_elements",
]
