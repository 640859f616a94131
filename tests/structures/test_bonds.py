"""The bond graph, molecules recognised by their bonds, and broken bonds."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.data import covalent_radii

from hbcoop_dist.structures import NMA_ATOMS, Structure, make_chain, monomer
from hbcoop_dist.structures.geometry import BOND_FACTOR, bond_graph, broken_bond, kind_in_order
from hbcoop_dist.structures.monomers import build, donor_water
from hbcoop_dist.structures.structure import MOLECULE_BONDS


def test_bonds_of_nma_are_those_of_its_formula() -> None:
    nma = monomer()
    graph = bond_graph(nma.numbers, nma.positions)
    bonds = {frozenset((NMA_ATOMS[i], NMA_ATOMS[j])) for i, j in graph.edges}
    assert bonds == {frozenset(bond) for bond in MOLECULE_BONDS["nma"]}
    assert nx.get_node_attributes(graph, "element") == {i: str(z) for i, z in enumerate(nma.numbers)}


@pytest.mark.parametrize(("name", "bonds"), [("CH4", 4), ("C2H4", 5), ("C6H6", 12), ("CH3CH2OH", 8), ("H2", 1)])
def test_bonds_of_small_molecules_are_counted(name: str, bonds: int) -> None:
    atoms = molecule(name)
    assert bond_graph(atoms.numbers, atoms.positions).number_of_edges() == bonds


@pytest.mark.parametrize("capping", ["none", "water"])
@pytest.mark.parametrize("pattern", ["arc", "linear"])
def test_hbonds_are_no_covalent_bonds(pattern, capping) -> None:
    structure = build(make_chain(pattern, 4, capping))
    molecules = [sorted(atoms) for atoms in nx.connected_components(bond_graph(structure.numbers, structure.positions))]
    expected = [structure.atoms_of(molecule).tolist() for molecule in range(len(structure.kinds))]
    assert sorted(molecules) == sorted(expected)


@pytest.mark.parametrize(("relative", "bonded"), [(0.999, True), (1.001, False)])
def test_the_longest_bond_is_the_factor_times_the_covalent_radii(relative: float, bonded: bool) -> None:
    numbers = np.array([6, 8])
    distance = relative * BOND_FACTOR * covalent_radii[numbers].sum()
    positions = np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
    assert bond_graph(numbers, positions).has_edge(0, 1) == bonded
    assert bond_graph(numbers, positions, 20.0 * np.eye(3)).has_edge(0, 1) == bonded
    assert not bond_graph(numbers, positions, factor=1.0).has_edge(0, 1)


def test_bonds_cross_the_boundary_of_a_cell() -> None:
    """Diamond: every atom has four neighbours, all of the other sublattice."""
    diamond = bulk("C", "diamond", a=3.567, cubic=True)
    assert set(dict(bond_graph(diamond.numbers, diamond.positions, np.asarray(diamond.cell)).degree).values()) == {4}
    assert bond_graph(diamond.numbers, diamond.positions).number_of_edges() < 16


@pytest.mark.parametrize("bond", MOLECULE_BONDS["nma"], ids="-".join)
def test_every_bond_that_breaks_is_named(bond: tuple[str, str]) -> None:
    """Moving one atom away along its bond breaks that bond first."""
    nma = monomer()
    i, j = (NMA_ATOMS.index(name) for name in bond)
    graph = bond_graph(nma.numbers, nma.positions)
    graph.remove_edge(i, j)
    side = list(nx.node_connected_component(graph, j))
    vector = nma.positions[j] - nma.positions[i]
    moved = nma.positions.copy()
    limit = BOND_FACTOR * float(covalent_radii[nma.numbers[[i, j]]].sum())
    for length, reason in ((limit - 0.02, ""), (limit + 0.02, f"{bond[0]}-{bond[1]} is {limit + 0.02:.2f} A")):
        moved[side] = nma.positions[side] + (length / np.linalg.norm(vector) - 1.0) * vector
        assert (
            (reason in broken_bond(nma.with_positions(moved))) if reason else not broken_bond(nma.with_positions(moved))
        )


def test_a_bond_without_a_length_is_broken() -> None:
    nma = monomer()
    assert "nan" in broken_bond(nma.with_positions(np.full((12, 3), np.nan)))
    assert broken_bond(Structure(np.array([6, 6]), np.diag([9.0, 9.0, 0.0])[:2], np.zeros(2, int), ("other",))) == ""


@pytest.mark.parametrize("seed", range(20))
def test_a_molecule_in_our_order_is_known_however_its_atoms_are_moved_a_little(seed: int) -> None:
    draw, nma, water = np.random.default_rng(seed), monomer(), donor_water()
    assert kind_in_order(nma.numbers, nma.positions + draw.normal(0.0, 0.1, (12, 3))) == "nma"
    assert kind_in_order(np.array([8, 1, 1]), water + draw.normal(0.0, 0.1, (3, 3))) == "water"


def test_another_order_another_molecule_or_a_torn_one_has_no_kind() -> None:
    nma = monomer()
    swapped = nma.positions.copy()
    # an H of one methyl and one of the other: the numbers alone do not tell
    swapped[[6, 9]] = swapped[[9, 6]]
    torn = nma.positions.copy()
    torn[10] += 3.0
    for numbers, positions in (
        (nma.numbers, swapped),
        (nma.numbers, torn),
        (nma.numbers[::-1], nma.positions[::-1]),
        (np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.0], [0.97, 0.0, 0.0], [1.94, 0.0, 0.0]])),
        (np.array([79]), np.zeros((1, 3))),
    ):
        assert kind_in_order(numbers, positions) == "other"
