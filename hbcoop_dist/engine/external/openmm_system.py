"""The OpenMM system of a structure: ANI and MACE through openmm-ml in single precision, a force field as it is.

Parameters are the verified checkpoint that the model was loaded from; openmm-ml downloads nothing.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import app

from hbcoop_dist.models.base import ModelCard, ModelError, Potential
from hbcoop_dist.models.openmm import OpenmmPotential, force_field_system
from hbcoop_dist.structures import Structure


def system_of(potential: Potential, checkpoint: Path | None, structure: Structure) -> tuple[Any, NDArray[np.int64]]:
    """System of all a structure's atoms, and the atom of the structure that each of its particles is.

    Raises
    ------
    ModelError
        When OpenMM cannot run the model.
    """
    card = potential.card
    if isinstance(potential, OpenmmPotential):
        system, order, _, _ = force_field_system(card, potential.forcefield, structure.kinds)
        return system, order
    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint for openmm-ml, found none")
    with _unpickled():
        system = _machine_learned(card, checkpoint).createSystem(
            _topology(structure), removeCMMotion=False, precision="single", device=potential.device
        )
    return system, np.arange(len(structure))


def _machine_learned(card: ModelCard, checkpoint: Path) -> Any:
    from openmmml import MLPotential

    if card.family == "ani":
        from hbcoop_dist.engine.external import ani_in_openmm

        return MLPotential(ani_in_openmm.NAME, folder=checkpoint)
    if card.family == "mace":
        return MLPotential("mace", modelPath=str(checkpoint))
    raise ModelError(f"model {card.name}: expected family ani, mace or openmm for OpenMM, found {card.family}")


def _topology(structure: Structure) -> Any:
    topology = app.Topology()
    residue = topology.addResidue("NMA", topology.addChain())
    for number in structure.numbers:
        topology.addAtom("X", app.Element.getByAtomicNumber(int(number)), residue)
    return topology


@contextlib.contextmanager
def _unpickled() -> Iterator[None]:
    """Let torch read a whole pickled network, as openmm-ml needs, and keep what is printed and warned of here.

    Nothing is trusted that was not before: the model itself was loaded from the same verified file.
    """
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
