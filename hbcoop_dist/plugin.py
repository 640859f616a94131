"""Everything that authors of plug-ins import, and nothing internal.

A model: an instance of `ModelFamily`, registered as an entry point of the group ``hbcoop_dist.models``; ``hbcoop models
new NAME`` makes a distribution to start from, and `hbcoop_dist.testing.models` tests it. A long-range scheme: a class
of `Scheme`, group ``hbcoop_dist.schemes``.

A kind of campaign: an instance of a subclass of `CampaignKind`, group ``hbcoop_dist.campaign_kinds``; see
`hbcoop_dist.testing.kinds`. A batch system: a subclass of `BatchSystem`, group ``hbcoop_dist.batch_systems``.

Names that a model does not need are imported on first access, so that a planner imports the module of a model fast and
without torch.
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
from hbcoop_dist.models.batching import Graph, join, split, split_atoms, to_numpy, to_tensor
from hbcoop_dist.models.checkpoints import CheckpointError, given_or_embedded, parameter_hash
from hbcoop_dist.structures import NMA_ATOMS, Structure, monomer

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.kind import CampaignKind, Comparison, Exporter, Plan
    from hbcoop_dist.campaigns.spec_fields import CampaignError, CampaignSpec, read_spec
    from hbcoop_dist.clusters.batch_system import BatchSystem, JobState
    from hbcoop_dist.clusters.local_jobs import LocalSystem
    from hbcoop_dist.clusters.profiles import ClusterProfile, Pool
    from hbcoop_dist.core.results import Label, Provenance, Record, TaskResult, package_versions
    from hbcoop_dist.core.tasks import Batch, canonical_json, content_key
    from hbcoop_dist.learning.networks.atom_batches import AtomBatch
    from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
    from hbcoop_dist.learning.networks.registry import ArchitectureDeclaration, ComponentOptions, SchemeDeclaration
    from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, Scheme
    from hbcoop_dist.store.journal import payload_types
    from hbcoop_dist.store.schema import Axis, Schema, Table, Variable, status_variables, variables

# Names that are imported on first access, by their modules.
_LAZY = {
    "campaigns.kind": "CampaignKind Comparison Exporter Plan",
    "campaigns.spec_fields": "CampaignError CampaignSpec read_spec",
    "clusters.batch_system": "BatchSystem JobState",
    "clusters.local_jobs": "LocalSystem",
    "clusters.profiles": "ClusterProfile Pool",
    "core.results": "Label Provenance Record TaskResult package_versions",
    "core.tasks": "Batch canonical_json content_key",
    "learning.networks.atom_batches": "AtomBatch",
    "learning.networks.hyperparameters": "NetworkShape",
    "learning.networks.registry": "ArchitectureDeclaration ComponentOptions SchemeDeclaration",
    "learning.networks.schemes.base": "LongRange Memory Scheme",
    "store.journal": "payload_types",
    "store.schema": "Axis Schema Table Variable status_variables variables",
}
_MODULES = {name: module for module, names in _LAZY.items() for name in names.split()}

__all__ = [
    "NMA_ATOMS",
    "Abilities",
    "About",
    "ArchitectureDeclaration",
    "AtomBatch",
    "Axis",
    "Batch",
    "BatchSystem",
    "CampaignError",
    "CampaignKind",
    "CampaignSpec",
    "CheckpointError",
    "CheckpointInfo",
    "ClusterProfile",
    "Comparison",
    "ComponentOptions",
    "Evaluation",
    "Exporter",
    "Graph",
    "JobState",
    "Label",
    "LocalSystem",
    "LongRange",
    "Memory",
    "ModelCard",
    "ModelError",
    "ModelFamily",
    "NetworkShape",
    "Plan",
    "Pool",
    "Potential",
    "Provenance",
    "Record",
    "Requirements",
    "Schema",
    "Scheme",
    "SchemeDeclaration",
    "SequentialPotential",
    "Structure",
    "Table",
    "TaskResult",
    "UnknownElementError",
    "Variable",
    "canonical_json",
    "content_key",
    "given_or_embedded",
    "join",
    "monomer",
    "package_versions",
    "parameter_hash",
    "payload_types",
    "read_spec",
    "require_checkpoint",
    "require_plain",
    "split",
    "split_atoms",
    "status_variables",
    "to_numpy",
    "to_tensor",
    "variables",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"hbcoop_dist.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
