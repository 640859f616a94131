"""The interface of all models: cards that are read without torch, families that load them, potentials that evaluate.

Families import the packages of their models inside `ModelFamily.load`, so that a planner without those packages can
read every card.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.structures import Structure


class ModelError(Exception):
    """A model cannot be found, loaded or evaluated; the message names the model, what was expected and found."""


class UnknownElementError(ModelError):
    """A structure contains an element that the model's card does not declare."""


@dataclass(frozen=True, slots=True)
class About:
    """What a model is.

    Attributes
    ----------
    level_of_theory : str
        Method and basis set of the data the model was fitted to, or the method itself.
    licence : str
        Terms under which its parameters are published.
    citation : str
        Publication to cite.
    elements : tuple of int
        Atomic numbers the model was made for.
    cutoff : float or None
        Cutoff radius of one layer, A; None when there is none.
    layers : int
        Number of message-passing layers, 1 for a local descriptor.
    long_range : bool
        Whether energy terms reach beyond the receptive field.
    """

    level_of_theory: str
    licence: str
    citation: str
    elements: tuple[int, ...]
    cutoff: float | None = None
    layers: int = 1
    long_range: bool = False


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model computes, and which physical laws its energies keep.

    A law that is declared as not kept is measured by ``hbcoop models check`` and reported, never failed.

    Attributes
    ----------
    forces : bool
        Whether forces are available. Models without forces are evaluated at geometries that another model minimised.
    atom_energies : bool
        Whether energies per atom are available.
    charges : bool
        Whether partial charges are available.
    counterpoise : bool
        Whether fragments are computed in the basis set of their complex (`Structure.ghosts`).
    batched : bool
        Whether evaluating many structures in one call is faster than one by one.
    needs_topology : bool
        Whether the model reads the molecule types `Structure.kinds`, as classical force fields do, and not only
        elements and positions.
    dtype : str
        Float type of the calculation, ``float64`` unless the family does not support it.
    dtype_reason : str
        Why `dtype` is not ``float64``.
    single_point_cost : str
        ``fast`` (batched with other cells) or ``minutes`` (one task per fragment).
    max_force : float or None
        Convergence limit of the largest atomic force that the model can reach, eV/A, where it is looser than the
        campaign's.
    extensive : bool
        Whether the energy of molecules far apart is the sum of their energies.
    forces_are_gradient : bool
        Whether the forces are the negative gradient of the energy.
    rotation_invariant : bool
        Whether the energy is invariant under rotation.
    mirror_invariant : bool
        Whether the energy is invariant under reflection. Networks whose features have no parity are invariant under
        rotation only.
    smooth : bool
        Whether energy and forces are continuous where atoms enter or leave the cutoff. Networks with a limited
        number of neighbours are not: the last neighbour is replaced by another one at its full weight.
    """

    forces: bool = True
    atom_energies: bool = False
    charges: bool = False
    counterpoise: bool = False
    batched: bool = True
    needs_topology: bool = False
    dtype: str = "float64"
    dtype_reason: str = ""
    single_point_cost: str = "fast"
    max_force: float | None = None
    extensive: bool = True
    forces_are_gradient: bool = True
    rotation_invariant: bool = True
    mirror_invariant: bool = True
    smooth: bool = True


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """Where the parameters of a model come from.

    Attributes
    ----------
    file : str or None
        Name of the file or folder that is searched for on disk; None when the parameters are part of a package.
    sha256 : str or None
        Expected hash of the file or folder, or of the parameters shipped in a package.
    url : str or None
        Published address, for ``hbcoop models fetch``.
    pickled : bool
        Whether reading the checkpoint can run code. Such a checkpoint needs a known `sha256`, or to be `trusted`.
    trusted : bool
        Whether the user vouches for the checkpoint.
    restricted : bool
        Whether the licence restricts use and must be accepted before the checkpoint is fetched.
    """

    file: str | None = None
    sha256: str | None = None
    url: str | None = None
    pickled: bool = False
    trusted: bool = False
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Description of a model that can be read without importing its package.

    Attributes
    ----------
    name : str
        Name in specs and stores, e.g. ``ani-2x``.
    family : str
        Name of the entry point (group ``hbcoop_dist.models``) of the family that loads the model.
    about : About
        What the model is.
    abilities : Abilities
        What it computes.
    needs : Requirements
        Packages, Python environment and GPU.
    checkpoint : CheckpointInfo
        Where its parameters come from.
    combination : mapping of str to float
        Weights of `Evaluation.parts` whose sum is the energy. Cards that differ in nothing else share their tasks.
    options : mapping
        Settings of the family; part of the task key.
    """

    name: str
    family: str
    about: About
    abilities: Abilities = field(default_factory=Abilities)
    needs: Requirements = field(default_factory=Requirements)
    checkpoint: CheckpointInfo = field(default_factory=CheckpointInfo)
    combination: Mapping[str, float] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def receptive_field(self) -> float | None:
        """Distance up to which atoms contribute to one atom's energy, cutoff x layers, A; None when unlimited."""
        if self.about.cutoff is None or self.about.long_range or not self.abilities.extensive:
            return None
        return self.about.cutoff * self.about.layers

    def with_fields(self, **changes: Any) -> ModelCard:
        """Copy with some fields changed, whichever part of the card they belong to.

        Parameters
        ----------
        **changes
            Fields of the card, or of `About`, `Abilities`, `Requirements` or `CheckpointInfo`, e.g. ``cutoff=5.0``.

        Raises
        ------
        TypeError
            When neither the card nor one of its parts has such a field.
        """
        parts: dict[str, Any] = {}
        for name in ("about", "abilities", "needs", "checkpoint"):
            part = changes.pop(name, getattr(self, name))
            own = {field.name: changes.pop(field.name) for field in fields(part) if field.name in changes}
            parts[name] = replace(part, **own)
        return replace(self, **parts, **changes)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Energy of one structure and its derivatives.

    Attributes
    ----------
    energy : float
        Total energy, eV.
    forces : (N, 3) float64 array or None
        Forces, eV/A.
    atom_energies : (N,) float64 array or None
        Energies of the atoms, eV; their sum is `energy`.
    charges : (N,) float64 array or None
        Partial charges, e.
    parts : mapping of str to float
        Terms of the energy, eV, named as in the card's `combination`.
    member_energies : (M,) float64 array or None
        Energies of the M >= 2 members of an ensemble, eV; their mean is `energy`.
    """

    energy: float
    forces: FloatArray | None = None
    atom_energies: FloatArray | None = None
    charges: FloatArray | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    member_energies: FloatArray | None = None


@dataclass(frozen=True, slots=True)
class Potential(ABC):
    """A loaded model. A subclass implements `compute`.

    Attributes
    ----------
    card : ModelCard
        Card of the loaded parameters, which may be more precise than the one the model was loaded by.
    parameter_hash : str
        Hash of the parameters themselves, which does not change when the checkpoint is saved again.
    device : str
        ``cpu`` or a CUDA device.
    """

    card: ModelCard
    parameter_hash: str
    device: str

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate structures, in one batch where the model can.

        A batch gives the same results as one structure at a time, to round-off.

        Parameters
        ----------
        structures : sequence of Structure
            Structures of one atom or more.
        forces : bool
            Whether to compute forces.
        atom_energies : bool
            Whether to return energies per atom, where the model has them.

        Returns
        -------
        list of Evaluation
            One per structure, in order.

        Raises
        ------
        UnknownElementError
            When a structure contains an element that the card does not declare.
        ModelError
            When forces of a model without forces are requested, or the calculation fails.
        """
        if not structures:
            return []
        require_elements(self.card, structures)
        if forces and not self.card.abilities.forces:
            raise ModelError(f"model {self.card.name}: expected a request for energies only, found one for forces")
        return self.compute(structures, forces, atom_energies)

    @abstractmethod
    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[Evaluation]:
        """Evaluate one or more structures of declared elements; called by `evaluate`.

        Parameters
        ----------
        structures : sequence of Structure
            At least one structure.
        forces, atom_energies : bool
            Whether to compute forces, and energies per atom.

        Returns
        -------
        list of Evaluation
            One per structure, in order.
        """

    def with_scratch(self, folder: Path) -> Potential:
        """Return a potential that may keep intermediate files in a folder; the default keeps none.

        Parameters
        ----------
        folder : Path
            Scratch folder of the campaign. Results never depend on what it contains.
        """
        del folder
        return self


@dataclass(frozen=True, slots=True)
class SequentialPotential(Potential):
    """A potential that evaluates one structure after another. A subclass implements `compute_single`."""

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[Evaluation]:
        return [self.compute_single(structure, forces, atom_energies) for structure in structures]

    @abstractmethod
    def compute_single(self, structure: Structure, forces: bool, atom_energies: bool) -> Evaluation:
        """Evaluate one structure of declared elements.

        Parameters
        ----------
        structure : Structure
        forces, atom_energies : bool
            Whether to compute forces, and energies per atom.
        """


class ModelFamily(ABC):
    """Models that one package runs: their cards, and how one of them is loaded.

    An instance is registered as an entry point of the group ``hbcoop_dist.models``, under the name that the cards
    have as `ModelCard.family`.

    Attributes
    ----------
    cards : tuple of ModelCard
        Registered models. Empty where users describe every model themselves.
    settings : tuple of str
        Names of `ModelCard.options` that a user may set for a checkpoint of their own.
    """

    cards: tuple[ModelCard, ...] = ()
    settings: tuple[str, ...] = ()

    @abstractmethod
    def load(self, card: ModelCard, checkpoint: Path | None, device: str, dtype: str) -> Potential:
        """Load a model.

        Parameters
        ----------
        card : ModelCard
        checkpoint : Path or None
            Verified file or folder of its parameters; None when they are part of a package.
        device : str
            ``cpu``, ``cuda`` or ``cuda:1``.
        dtype : str
            ``float64`` or ``float32``.

        Raises
        ------
        ModelError
            When the parameters are not those of the card, or device or float type are not supported.
        """

    def named(self, name: str) -> ModelCard | None:
        """Make the card of a model whose name describes it, e.g. ``rimp2:cc-pvdz``.

        Parameters
        ----------
        name : str
            Name that no registered model has.

        Returns
        -------
        ModelCard or None
            None when the name is not of the form that this family reads, as in the default.

        Raises
        ------
        ModelError
            When the name is of that form, but such a model does not exist.
        """
        del name
        return None

    def card_of(self, name: str, checkpoint: Path) -> ModelCard | None:
        """Make the card of a user's checkpoint from what the file itself describes, without importing its package.

        Parameters
        ----------
        name : str
            Name that the user chose.
        checkpoint : Path
            File or folder, which need not exist.

        Returns
        -------
        ModelCard or None
            None when checkpoints of this family do not describe themselves, as in the default; the card then follows
            from that of a registered model.
        """
        del name, checkpoint
        return None


def require_elements(card: ModelCard, structures: Sequence[Structure]) -> None:
    """Refuse structures that a model was not made for.

    Parameters
    ----------
    card : ModelCard
    structures : sequence of Structure

    Raises
    ------
    UnknownElementError
        When a structure contains elements that the card does not declare; the message names them.
    ModelError
        When a structure has ghost atoms and the model has no basis functions.
    """
    from ase.data import chemical_symbols

    declared = set(card.about.elements)
    present = {int(z) for structure in structures for z in structure.numbers}
    if unknown := sorted(present - declared):
        symbols, expected = (", ".join(chemical_symbols[z] for z in group) for group in (unknown, sorted(declared)))
        raise UnknownElementError(f"model {card.name}: expected elements among {expected}, found {symbols}")
    if not card.abilities.counterpoise and any(structure.ghosts for structure in structures):
        raise ModelError(f"model {card.name}: expected structures without ghost atoms, found some: no basis functions")


def require_plain(card: ModelCard, checkpoint: Path | None, device: str, dtype: str) -> None:
    """Raise `ModelError` unless a family without checkpoint and GPU code is to run on the CPU, in float64.

    Parameters
    ----------
    card : ModelCard
    checkpoint : Path or None
    device, dtype : str
        As given to `ModelFamily.load`.
    """
    if checkpoint is not None or device != "cpu" or dtype != "float64":
        raise ModelError(
            f"model {card.name}: expected no checkpoint, device cpu, float64; found {checkpoint}, {device}, {dtype}"
        )


def require_checkpoint(card: ModelCard, checkpoint: Path | None, dtype: str = "float64") -> Path:
    """Return the checkpoint of a network.

    Parameters
    ----------
    card : ModelCard
    checkpoint : Path or None
    dtype : str
        As given to `ModelFamily.load`.

    Raises
    ------
    ModelError
        When there is no checkpoint, or the float type is neither ``float64`` nor ``float32``.
    """
    if checkpoint is None:
        raise ModelError(f"model {card.name}: expected a checkpoint, found none")
    if dtype not in ("float64", "float32"):
        raise ModelError(f"model {card.name}: expected float64 or float32, found {dtype}")
    return checkpoint
