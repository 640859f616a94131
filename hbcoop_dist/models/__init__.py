"""Models: cards that can be read without torch, and potentials that evaluate batches of structures.

==============  ==================================================================================
`base`          what every model promises: `ModelCard`, `Evaluation`, `Potential`, `Family`
`registry`      find a model by name, say whether it can run here, load it
`checkpoints`   find parameters on disk and identify them by hash
`contract`      measure whether a loaded model keeps its promises
`smoothness`    the largest jump of energy and forces as molecules part
`speed`         atoms per second against batch size, memory per atom
==============  ==================================================================================

One file per family: `so3lr`, `ani`, `sevennet`, `xtb`, `openmm`, `toy`, and `ase_calculator` for whatever has an ASE
calculator.
"""

from hbcoop_dist.models.base import (
    Evaluation,
    Family,
    ModelCard,
    ModelError,
    Potential,
    UnknownElementError,
    require_elements,
)
from hbcoop_dist.models.checkpoints import Checkpoint, CheckpointError, identity
from hbcoop_dist.models.checks.contract import CheckResult, check
from hbcoop_dist.models.registry import Availability, available, broken_families, card, cards, custom_card, load

__all__ = [
    "Availability",
    "CheckResult",
    "Checkpoint",
    "CheckpointError",
    "Evaluation",
    "Family",
    "ModelCard",
    "ModelError",
    "Potential",
    "UnknownElementError",
    "available",
    "broken_families",
    "card",
    "cards",
    "check",
    "custom_card",
    "identity",
    "load",
    "require_elements",
]
