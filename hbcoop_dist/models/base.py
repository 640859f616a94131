"""What every model promises: a card that can be read without torch, and a potential that evaluates batches.

A family file offers ``CARDS`` and ``load(card, checkpoint, device=..., dtype=...)``; nothing else of it is
ever called.  Heavy packages are imported inside ``load``, so that a planner without them can read every card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hbcoop_dist.structures import Structure

FloatArray = NDArray[np.float64]


class ModelError(Exception):
    """A model cannot be found, loaded or evaluated; the message names the model, what was expected and found."""


class UnknownElementError(ModelError):
    """A structure holds an element that the model's card does not declare."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model before it is loaded.

    Attributes
    ----------
    name : str
        The model's name in specs and stores, e.g. ``ani-2x``.
    family : str
        The file of :mod:`hbcoop_dist.models` (or the entry point) that loads it.
    level_of_theory, licence, citation : str
        What it was fitted to, under which terms its parameters come, and what to cite.
    elements : tuple of int
        Atomic numbers it was made for.
    checkpoint : str or None
        File or folder name looked for on disk; None when the parameters come with a package.
    sha256 : str or None
        Expected hash of the checkpoint file or folder, or of the embedded weights.
    pickled : bool
        Whether its checkpoint runs code when it is read: such a one needs a known `sha256`, or to be `trusted`.
    trusted : bool
        Whether the user vouches for the checkpoint.
    url : str or None
        Where the checkpoint is published, for ``hbcoop models fetch``.
    restricted : bool
        Whether its licence restricts use, so that it has to be accepted before the checkpoint is fetched.
    dtype : str
        Float type it runs in, ``float64`` unless the family cannot; ``dtype_reason`` then says why.
    atom_energies, charges : bool
        Whether evaluations carry per-atom energies and charges.
    cutoff : float or None
        Cutoff of one layer, A; None when there is none.
    layers : int
        Message-passing layers (1 for a local descriptor): receptive field = cutoff x layers.
    long_range : bool
        Whether energy terms reach beyond the receptive field.
    requires : tuple of str
        Importable modules it needs; `available` in the registry tests for them without importing.
    packages : tuple of str
        Distributions whose versions decide the numbers, recorded in every result's provenance.
    environment : str
        The Python environment its workers need: ``main`` is ``requirements.lock``, any other NAME is
        ``environments/NAME.txt``. The pools of a cluster profile say which one they have.
    batched : bool
        Whether many structures in one call are faster than one by one.
    gpu : bool
        Whether the family has a GPU code path; without one it runs on the CPU wherever it is sent.
    needs_topology : bool
        Whether it reads `Structure.kinds` (a classical force field) or only elements and positions.
    single_point_cost : str
        ``fast`` (batched with other cells) or ``minutes`` (one task per fragment).
    max_force : float or None
        The loosest converged max force the model can reach, eV/A; None leaves the campaign's.
    extensive : bool
        Whether the energy of molecules far apart is the sum of theirs, as physics has it.
    forces : bool
        Whether it has forces; without them its energies are taken at geometries that something else has minimised.
    counterpoise : bool
        Whether fragments are computed in the basis of their complex: molecules that are not in a fragment lend it
        their basis functions (`Structure.ghosts`).
    combination : mapping of str to float
        The energy as a sum of weighted `Evaluation.parts`. Cards that differ in nothing else share their tasks.
    forces_are_gradient, rotation_invariant, mirror_invariant : bool
        False where the model does not promise it; the contract suite then measures the deviation. Networks on features
        without parity turn with a structure, but give its mirror image another energy.
    smooth : bool
        Whether energy and forces are continuous where atoms enter or leave the cutoff. Networks that look at the
        nearest so many neighbours only are not: the last of them gives way to another with all its weight.
    options : mapping
        Family-specific settings, part of the task key.
    """

    name: str
    family: str
    level_of_theory: str
    licence: str
    citation: str
    elements: tuple[int, ...]
    checkpoint: str | None = None
    sha256: str | None = None
    pickled: bool = False
    trusted: bool = False
    url: str | None = None
    restricted: bool = False
    dtype: str = "float64"
    dtype_reason: str = ""
    atom_energies: bool = False
    charges: bool = False
    cutoff: float | None = None
    layers: int = 1
    long_range: bool = False
    requires: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    environment: str = "main"
    batched: bool = True
    gpu: bool = False
    needs_topology: bool = False
    single_point_cost: str = "fast"
    max_force: float | None = None
    extensive: bool = True
    forces: bool = True
    counterpoise: bool = False
    combination: Mapping[str, float] = field(default_factory=dict)
    forces_are_gradient: bool = True
    rotation_invariant: bool = True
    mirror_invariant: bool = True
    smooth: bool = True
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def receptive_field(self) -> float | None:
        """How far one atom's energy sees, A: cutoff x layers; None when nothing bounds it."""
        if self.cutoff is None or self.long_range or not self.extensive:
            return None
        return self.cutoff * self.layers


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Energy and its derivatives of one structure.

    Attributes
    ----------
    energy : float
        Total energy, eV.
    forces : (N, 3) float64 array or None
        eV/A.
    atom_energies : (N,) float64 array or None
        eV; sums to `energy`.
    charges : (N,) float64 array or None
        Elementary charges.
    parts : mapping of str to float
        What the energy is put together from, eV, by the names of the card's `combination`.
    member_energies : (M,) float64 array or None
        Of a model that is the mean of M networks, two or more: what each of them says, eV; their mean is `energy`.
    """

    energy: float
    forces: FloatArray | None = None
    atom_energies: FloatArray | None = None
    charges: FloatArray | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    member_energies: FloatArray | None = None


class Potential(Protocol):
    """A loaded model. Batches in, one `Evaluation` per structure out, in order.

    An empty structure (no atoms) is never passed; the engine knows that it is zero. One that has a method
    ``with_scratch(folder)`` is asked for a potential that may keep files there, which are never results.
    A batch gives what one structure at a time gives, to round-off.
    """

    @property
    def card(self) -> ModelCard: ...

    @property
    def parameter_hash(self) -> str:
        """Hash of the parameters themselves, which survives re-saving of the file."""
        ...

    @property
    def device(self) -> str: ...

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]: ...


class Family(Protocol):
    """A family module: the cards it offers and how one is loaded.

    It may name ``SETTINGS`` too: options of its cards that a user may give beside a checkpoint of his own. And it may
    have a function ``named``, which makes the card of a name that says what it is (``rimp2:cc-pvdz``), None of others.
    Where a checkpoint says what it is without its package, a function ``card_of(name, checkpoint)`` makes its card.
    """

    CARDS: tuple[ModelCard, ...]

    def load(
        self, card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64"
    ) -> Potential: ...


def require_elements(card: ModelCard, structures: Sequence[Structure]) -> None:
    """Raise `UnknownElementError`, naming the elements, when a structure holds some the card does not declare."""
    from ase.data import chemical_symbols

    known = set(card.elements)
    found = {int(z) for structure in structures for z in structure.numbers}
    if unknown := sorted(found - known):
        symbols = ", ".join(chemical_symbols[z] for z in unknown)
        allowed = ", ".join(chemical_symbols[z] for z in sorted(known))
        raise UnknownElementError(f"model {card.name}: elements {symbols} are not declared; it knows {allowed}")
    if not card.counterpoise and any(structure.ghosts for structure in structures):
        raise ModelError(f"model {card.name}: expected no ghosts, found some: it has no basis functions")


def require_plain(card: ModelCard, checkpoint: Path | None, device: str, dtype: str) -> None:
    """Raise `ModelError` unless a family without checkpoints and GPU code is asked for neither, in float64."""
    if checkpoint is not None or device != "cpu" or dtype != "float64":
        raise ModelError(
            f"model {card.name}: expected no checkpoint, device cpu, float64; found {checkpoint}, {device}, {dtype}"
        )
