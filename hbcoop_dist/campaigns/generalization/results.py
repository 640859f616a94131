"""Typed results of the tasks of generalization campaigns: what a worker returns and the journal keeps."""

from __future__ import annotations

from dataclasses import dataclass

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.learning.datasets.labelled_structures import PackedStructures
from hbcoop_dist.learning.networks.trained_files import NetworkMetadata, Trained


@dataclass(frozen=True, slots=True)
class LabelResult:
    """One chunk of a generated set.

    Attributes
    ----------
    structures : PackedStructures
    dropped : tuple of str
        Structures that the labelling model had no answer for, and why.
    """

    structures: PackedStructures
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredArrays:
    """Result that is too large for the journal: a file beside the store.

    Attributes
    ----------
    file : str
        Name of a ``.npz`` file in the folder of arrays.
    sha256 : str
    size : int
        Bytes.
    """

    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class SplitResult:
    """Sides of one split of a set.

    Attributes
    ----------
    training, validation, test : (n,) int array
        Indices of the structures of each side.
    similarity : (n_test,) array
        Cosine similarity (averaged SOAP) of each test structure to the nearest training structure.
    notes : tuple of str
    """

    training: IntArray
    validation: IntArray
    test: IntArray
    similarity: FloatArray
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapResult:
    """Map of the chemical space of a set of S structures, and what the store keeps of each structure.

    Attributes
    ----------
    umap : (S, 2) array
        UMAP of averaged SOAP.
    domains, parents : tuple of str
        Part of chemical space, and parent molecule or composition.
    atoms : (S,) int array
        Number of atoms.
    level_of_theory : str
    dropped : tuple of str
        Structures of files that could not be used, and why.
    """

    umap: FloatArray
    domains: tuple[str, ...]
    parents: tuple[str, ...]
    atoms: IntArray
    level_of_theory: str
    dropped: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """A trained network.

    Attributes
    ----------
    network : Trained
    n_training : int
        Number of training structures.
    metadata : NetworkMetadata
    """

    network: Trained
    n_training: int
    metadata: NetworkMetadata


@dataclass(frozen=True, slots=True)
class GroupResult:
    """Errors on a group of test structures.

    Attributes
    ----------
    label : str or int
        Part of chemical space, or number of atoms.
    energy_rmse : float
        Of the energy per atom, meV.
    forces_rmse : float
        Of force components, meV/A.
    count : int
        Number of structures.
    """

    label: str | int
    energy_rmse: float
    forces_rmse: float
    count: int


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Errors of a network on the test side of its split; NaN where there is nothing to compare.

    Attributes
    ----------
    energy_rmse, energy_mae : float
        Of the energy per atom, meV.
    forces_rmse, forces_mae : float
        Of force components, meV/A.
    charges_mae : float
        e, up to the global sign.
    charges_correlation : float
    dipole_rmse : float
        Of components, e A.
    interaction_near_rmse, interaction_near_mae : float
        Of interaction energies with molecules within the cutoff, kcal/mol.
    interaction_beyond_rmse, interaction_beyond_mae : float
        Of interaction energies with all molecules beyond the cutoff, kcal/mol.
    n_test, n_near, n_beyond : int
        Numbers of structures.
    by_domain, by_size : tuple of GroupResult
        Errors for each part of chemical space, and for each number of atoms.
    """

    energy_rmse: float
    energy_mae: float
    forces_rmse: float
    forces_mae: float
    charges_mae: float
    charges_correlation: float
    dipole_rmse: float
    interaction_near_rmse: float
    interaction_near_mae: float
    interaction_beyond_rmse: float
    interaction_beyond_mae: float
    n_test: int
    n_near: int
    n_beyond: int
    by_domain: tuple[GroupResult, ...]
    by_size: tuple[GroupResult, ...]
