"""Everything that authors of plug-ins import, and nothing internal.

A model: an instance of `ModelFamily`, registered as an entry point of the group ``hbcoop_dist.models``; ``hbcoop models
new NAME`` makes a distribution to start from, and `hbcoop_dist.testing.models` tests it. A long-range scheme: a class
of `Scheme`, group ``hbcoop_dist.schemes``.

Names that need torch are imported on first access, so that a planner can import the module of a model without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hbcoop_dist.core.tasks import Requirements
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
    require_checkpoint,
    require_plain,
)
from hbcoop_dist.models.checkpoints import CheckpointError, given_or_embedded, parameter_hash
from hbcoop_dist.models.neighbour_graphs import Graph, join, split, split_atoms, to_numpy, to_tensor
from hbcoop_dist.structures import NMA_ATOMS, Structure, monomer

if TYPE_CHECKING:
    from hbcoop_dist.learning.networks.atom_batches import AtomBatch
    from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, NetworkShape, Scheme

# Names that need torch, and their modules.
_NEED_TORCH = {
    "AtomBatch": "hbcoop_dist.learning.networks.atom_batches",
    "LongRange": "hbcoop_dist.learning.networks.schemes.base",
    "Memory": "hbcoop_dist.learning.networks.schemes.base",
    "NetworkShape": "hbcoop_dist.learning.networks.schemes.base",
    "Scheme": "hbcoop_dist.learning.networks.schemes.base",
}

__all__ = [
    "NMA_ATOMS",
    "Abilities",
    "About",
    "AtomBatch",
    "CheckpointError",
    "CheckpointInfo",
    "Evaluation",
    "Graph",
    "LongRange",
    "Memory",
    "ModelCard",
    "ModelError",
    "ModelFamily",
    "NetworkShape",
    "Potential",
    "Requirements",
    "Scheme",
    "SequentialPotential",
    "Structure",
    "UnknownElementError",
    "given_or_embedded",
    "join",
    "monomer",
    "parameter_hash",
    "require_checkpoint",
    "require_plain",
    "split",
    "split_atoms",
    "to_numpy",
    "to_tensor",
]


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(importlib.import_module(_NEED_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
