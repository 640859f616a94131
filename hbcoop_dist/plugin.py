"""Everything that authors of plug-ins import, and nothing internal.

A model: an instance of `ModelFamily`, registered as an entry point of the group ``hbcoop_dist.models``; ``hbcoop models
new NAME`` makes a distribution to start from, and `hbcoop_dist.testing.models` tests it. A long-range scheme: a class
of `Scheme`, group ``hbcoop_dist.schemes``.

A kind of campaign: an instance of a subclass of `CampaignKind`, group ``hbcoop_dist.campaign_kinds``; see
`hbcoop_dist.testing.kinds`.

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
from hbcoop_dist.models.checkpoints import CheckpointError, given_or_embedded, parameter_hash
from hbcoop_dist.models.neighbour_graphs import Graph, join, split, split_atoms, to_numpy, to_tensor
from hbcoop_dist.structures import NMA_ATOMS, Structure, monomer

if TYPE_CHECKING:
    from hbcoop_dist.campaigns.kind import CampaignKind, Comparison, Exporter, Plan
    from hbcoop_dist.campaigns.spec_fields import CampaignError, CampaignSpec, read_spec
    from hbcoop_dist.core.results import Label, Provenance, Record, TaskResult, package_versions
    from hbcoop_dist.core.tasks import Batch, canonical_json, content_key
    from hbcoop_dist.learning.networks.atom_batches import AtomBatch
    from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
    from hbcoop_dist.learning.networks.registry import ArchitectureDeclaration, ComponentOptions, SchemeDeclaration
    from hbcoop_dist.learning.networks.schemes.base import LongRange, Memory, Scheme
    from hbcoop_dist.store.journal import payload_types
    from hbcoop_dist.store.schema import Axis, Schema, Table, Variable, status_variables, variables

# Names that are imported on first access, and their modules.
_LAZY = {
    "ArchitectureDeclaration": "hbcoop_dist.learning.networks.registry",
    "AtomBatch": "hbcoop_dist.learning.networks.atom_batches",
    "Axis": "hbcoop_dist.store.schema",
    "Batch": "hbcoop_dist.core.tasks",
    "CampaignError": "hbcoop_dist.campaigns.spec_fields",
    "CampaignKind": "hbcoop_dist.campaigns.kind",
    "CampaignSpec": "hbcoop_dist.campaigns.spec_fields",
    "ComponentOptions": "hbcoop_dist.learning.networks.registry",
    "Comparison": "hbcoop_dist.campaigns.kind",
    "Exporter": "hbcoop_dist.campaigns.kind",
    "Label": "hbcoop_dist.core.results",
    "LongRange": "hbcoop_dist.learning.networks.schemes.base",
    "Memory": "hbcoop_dist.learning.networks.schemes.base",
    "NetworkShape": "hbcoop_dist.learning.networks.hyperparameters",
    "Plan": "hbcoop_dist.campaigns.kind",
    "Provenance": "hbcoop_dist.core.results",
    "Record": "hbcoop_dist.core.results",
    "Schema": "hbcoop_dist.store.schema",
    "Scheme": "hbcoop_dist.learning.networks.schemes.base",
    "SchemeDeclaration": "hbcoop_dist.learning.networks.registry",
    "Table": "hbcoop_dist.store.schema",
    "TaskResult": "hbcoop_dist.core.results",
    "Variable": "hbcoop_dist.store.schema",
    "canonical_json": "hbcoop_dist.core.tasks",
    "content_key": "hbcoop_dist.core.tasks",
    "package_versions": "hbcoop_dist.core.results",
    "payload_types": "hbcoop_dist.store.journal",
    "read_spec": "hbcoop_dist.campaigns.spec_fields",
    "status_variables": "hbcoop_dist.store.schema",
    "variables": "hbcoop_dist.store.schema",
}

__all__ = [
    "NMA_ATOMS",
    "Abilities",
    "About",
    "ArchitectureDeclaration",
    "AtomBatch",
    "Axis",
    "Batch",
    "CampaignError",
    "CampaignKind",
    "CampaignSpec",
    "CheckpointError",
    "CheckpointInfo",
    "Comparison",
    "ComponentOptions",
    "Evaluation",
    "Exporter",
    "Graph",
    "Label",
    "LongRange",
    "Memory",
    "ModelCard",
    "ModelError",
    "ModelFamily",
    "NetworkShape",
    "Plan",
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
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
