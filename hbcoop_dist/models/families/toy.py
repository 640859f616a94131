"""An analytic potential with known cooperativity, so that everything above the models can be tested against algebra.

Three parts, all in NumPy with analytic forces:

* Inside a molecule: harmonic springs at the template's distances, between all heavy atoms and the amide H, and within
  each methyl up to the atom it is bonded to. Those distances are the same in every rotamer, so all rotamers (and the
  template itself) are minima of equal energy. Springs alone leave out-of-plane bending and methyl rotation free;
  squared tetrahedral volumes keep the amide planar and ``1 - cos 6 phi`` keeps the methyls at multiples of 60 degrees.
* Between molecules, pairwise: Lennard-Jones between atoms and softened Coulomb between sites. The carbonyl O carries
  its charge on two in-plane lone-pair sites, which makes H-bonds bent. Springs that fade with the contact keep them
  bent, so that syn and anti are separate minima, and pull the donor's amide into the acceptor's plane.
* Cooperativity: with D[c, b] the switched H..O contact of donor molecule c and acceptor molecule b,
  ``E3 = -strength * sum of D[c, b] D[b, a]`` over all triples of different molecules. Everything else is additive
  over pairs of molecules, so `cooperative_energy` is the electronic dV of Eq. 1 in closed form.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from ase.units import Bohr, Hartree, kcal, mol

from hbcoop_dist.core.arrays import FloatArray, IntArray
from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.structures import NMA_ATOMS, Structure, monomer
from hbcoop_dist.structures.monomers import donor_water

KCAL = kcal / mol
STRENGTH = 1.0 * KCAL
"""Energy of one triple with two fully formed H-bonds, eV."""
CONTACT = (1.5, 3.5)
"""H..O distances between which a contact decreases smoothly from 1 to 0, A."""

_BOND_SPRING, _SPRING = 30.0, 6.0  # eV/A^2, up to 1.6 A and beyond
_VOLUME_SPRING = 0.5  # eV/A^6
_METHYL_BARRIER = 1.0 * KCAL  # of one methyl, shared by its three H
_COULOMB = Hartree * Bohr  # e^2 / (4 pi eps0), eV A
_SOFTENING = 0.8  # A; keeps the energy of charges at one point finite
_LONE_PAIR = (0.20, 0.20)  # site = O + 0.20 (O - C) +- 0.20 (N - CA)
_COPLANAR_SPRING = 0.2  # eV/A^6
_BEND_SPRING, _BEND_COSINE = 3.0, 0.62  # eV; C=O..H near 130 degrees
_CHARGES = {
    "nma": (-0.10, 0.50, 0.0, -0.37, 0.27, -0.10, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, -0.25, -0.25),
    "water": (-0.80, 0.40, 0.40),
}
_SIGMA = {"C": 3.3, "N": 3.2, "O": 3.0, "H": 2.3, "polar": 1.2}  # A
_EPSILON = {"C": 0.09, "N": 0.17, "O": 0.20, "H": 0.016, "polar": 0.03}  # kcal/mol


@dataclass(frozen=True, slots=True)
class _Kind:
    """Parameters of one kind of molecule; indices count its own atoms."""

    pairs: IntArray  # (P, 2) springs
    lengths: FloatArray
    springs: FloatArray
    volumes: IntArray  # (V, 4) atoms in one plane
    dihedrals: IntArray  # (D, 4) methyl H first
    sites: FloatArray  # (S, N) weights: site positions = sites @ positions
    owners: IntArray  # (S,) atom that each site belongs to
    charges: FloatArray
    types: tuple[str, ...]
    donors: IntArray  # H
    acceptors: IntArray  # O
    frames: IntArray  # (0 or 1, 4) O, C, N, H of an amide


def _springs(positions: FloatArray, pairs: Sequence[tuple[int, int]]) -> tuple[IntArray, FloatArray, FloatArray]:
    index = np.array(pairs, dtype=np.int64)
    lengths = np.linalg.norm(positions[index[:, 0]] - positions[index[:, 1]], axis=1)
    return index, lengths, np.where(lengths < 1.6, _BOND_SPRING, _SPRING)


def _nma() -> _Kind:
    positions = monomer().positions
    at = {name: index for index, name in enumerate(NMA_ATOMS)}
    plane = [at[name] for name in ("CA", "C", "O", "N", "H", "CN")]
    pairs = [(i, j) for i in plane for j in plane if i < j]
    dihedrals = []
    for carbon, bonded, beside, prefix in (("CA", "C", "N", "HA"), ("CN", "N", "C", "HN")):
        hydrogens = [at[f"{prefix}{k}"] for k in (1, 2, 3)]
        pairs += [(h, at[x]) for h in hydrogens for x in (carbon, bonded)]
        pairs += [(hydrogens[0], hydrogens[1]), (hydrogens[0], hydrogens[2]), (hydrogens[1], hydrogens[2])]
        dihedrals += [(h, at[carbon], at[bonded], at[beside]) for h in hydrogens]
    planes = [("C", "CA", "O", "N"), ("N", "C", "H", "CN"), ("C", "CA", "N", "CN"), ("N", "C", "O", "H")]
    sites = np.vstack([np.eye(12), np.zeros((2, 12))])
    along, across = _LONE_PAIR
    for row, sign in ((12, 1.0), (13, -1.0)):
        sites[row, [at["O"], at["C"], at["N"], at["CA"]]] = 1.0 + along, -along, sign * across, -sign * across
    return _Kind(
        *_springs(positions, pairs),
        volumes=np.array([[at[name] for name in four] for four in planes]),
        dihedrals=np.array(dihedrals),
        sites=sites,
        owners=np.array([*range(12), at["O"], at["O"]]),
        charges=np.array(_CHARGES["nma"]),
        types=("C", "C", "O", "N", "polar", "C", "H", "H", "H", "H", "H", "H"),
        donors=np.array([at["H"]]),
        acceptors=np.array([at["O"]]),
        frames=np.array([[at[name] for name in ("O", "C", "N", "H")]]),
    )


def _water() -> _Kind:
    return _Kind(
        *_springs(donor_water(), [(0, 1), (0, 2), (1, 2)]),
        volumes=np.zeros((0, 4), dtype=np.int64),
        dihedrals=np.zeros((0, 4), dtype=np.int64),
        sites=np.eye(3),
        owners=np.arange(3),
        charges=np.array(_CHARGES["water"]),
        types=("O", "polar", "polar"),
        donors=np.array([1, 2]),
        acceptors=np.array([0]),
        frames=np.zeros((0, 4), dtype=np.int64),
    )


@functools.cache
def _kind(name: str) -> _Kind:
    return {"nma": _nma, "water": _water}[name]()


@dataclass(frozen=True, slots=True)
class Terms:
    """Parameters of all terms for a list of molecules of N atoms and S sites, with indices into both."""

    pairs: IntArray
    lengths: FloatArray
    springs: FloatArray
    volumes: IntArray
    dihedrals: IntArray
    sites: FloatArray
    owners: IntArray
    coulomb: FloatArray  # (S, S) products of charges, zero within a molecule
    sigma6: FloatArray  # (N, N)
    epsilon: FloatArray  # (N, N), zero within a molecule
    donors: IntArray
    acceptors: IntArray
    donor_of: IntArray  # molecule of each donor
    acceptor_of: IntArray
    frames: IntArray


@functools.lru_cache(maxsize=256)
def terms_of(kinds: tuple[str, ...]) -> Terms:
    """Parameters of all terms for a list of molecules.

    Parameters
    ----------
    kinds : tuple of str
        ``nma`` or ``water`` for every molecule.
    """
    from scipy.linalg import block_diag  # not at the top: reading cards imports nothing heavy

    parts = [_kind(name) for name in kinds]
    starts = np.concatenate([[0], np.cumsum([part.sites.shape[1] for part in parts])]).astype(np.int64)
    atoms = np.repeat(np.arange(len(parts)), np.diff(starts))
    sites = block_diag(*(part.sites for part in parts))
    apart = atoms[:, None] != atoms[None, :]
    types = [name for part in parts for name in part.types]
    sigma = np.array([_SIGMA[name] for name in types])
    epsilon = np.sqrt([_EPSILON[name] * KCAL for name in types])
    charges = np.concatenate([part.charges for part in parts])

    def joined(name: str) -> IntArray:
        return np.concatenate([getattr(part, name) + start for part, start in zip(parts, starts, strict=False)])

    owners = joined("owners")
    indices = {name: joined(name) for name in ("pairs", "volumes", "dihedrals", "donors", "acceptors", "frames")}
    return Terms(
        **indices,
        lengths=np.concatenate([part.lengths for part in parts]),
        springs=np.concatenate([part.springs for part in parts]),
        sites=sites,
        owners=owners,
        coulomb=_COULOMB * np.outer(charges, charges) * apart[np.ix_(owners, owners)],
        sigma6=(0.5 * np.add.outer(sigma, sigma)) ** 6,
        epsilon=np.outer(epsilon, epsilon) * apart,
        donor_of=atoms[indices["donors"]],
        acceptor_of=atoms[indices["acceptors"]],
    )


def add_springs(x: FloatArray, terms: Terms, energy: FloatArray, gradient: FloatArray) -> None:
    """Add harmonic springs between atoms of one molecule; see `add_pairs` for the parameters."""
    i, j = terms.pairs.T
    d = x[i] - x[j]
    r = np.linalg.norm(d, axis=1)
    stretch = r - terms.lengths
    half = 0.25 * terms.springs * stretch**2
    np.add.at(energy, i, half)
    np.add.at(energy, j, half)
    pull = (terms.springs * stretch / r)[:, None] * d
    np.add.at(gradient, i, pull)
    np.add.at(gradient, j, -pull)


def add_volumes(x: FloatArray, terms: Terms, energy: FloatArray, gradient: FloatArray) -> None:
    """Add springs on the volumes spanned by four atoms of one plane; see `add_pairs` for the parameters."""
    corner = x[terms.volumes[:, 0]]
    a, b, c = (x[terms.volumes[:, k]] - corner for k in (1, 2, 3))
    slopes = [np.cross(b, c), np.cross(c, a), np.cross(a, b)]
    volume = np.einsum("vx,vx->v", a, slopes[0])
    for k in range(4):
        np.add.at(energy, terms.volumes[:, k], 0.125 * _VOLUME_SPRING * volume**2)
    for k, slope in enumerate(slopes, start=1):
        pull = (_VOLUME_SPRING * volume)[:, None] * slope
        np.add.at(gradient, terms.volumes[:, k], pull)
        np.add.at(gradient, terms.volumes[:, 0], -pull)


def add_methyls(x: FloatArray, terms: Terms, energy: FloatArray, gradient: FloatArray) -> None:
    """Add six-fold torsions of the methyls; see `add_pairs` for the parameters.

    The gradient of a dihedral is that of Blondel and Karplus, J. Comput. Chem. 1996, 17, 1132.
    """
    i, j, k, m = terms.dihedrals.T
    f, g, h = x[i] - x[j], x[j] - x[k], x[m] - x[k]
    a, b = np.cross(f, g), np.cross(h, g)
    aa, bb = np.einsum("dx,dx->d", a, a), np.einsum("dx,dx->d", b, b)
    length = np.linalg.norm(g, axis=1)
    phi = np.arctan2(np.einsum("dx,dx->d", np.cross(b, a), g) / length, np.einsum("dx,dx->d", a, b))
    share = _METHYL_BARRIER / 3.0
    for atoms in (i, j, k, m):
        np.add.at(energy, atoms, 0.125 * share * (1.0 - np.cos(6.0 * phi)))
    slope = 3.0 * share * np.sin(6.0 * phi)
    first = (-slope * length / aa)[:, None] * a
    last = (slope * length / bb)[:, None] * b
    near = (slope * np.einsum("dx,dx->d", f, g) / (aa * length))[:, None] * a
    far = (slope * np.einsum("dx,dx->d", h, g) / (bb * length))[:, None] * b
    np.add.at(gradient, i, first)
    np.add.at(gradient, j, -first + near - far)
    np.add.at(gradient, k, -last - near + far)
    np.add.at(gradient, m, last)


def add_pairs(x: FloatArray, terms: Terms, energy: FloatArray, gradient: FloatArray) -> None:
    """Add Lennard-Jones between atoms and softened Coulomb between sites of different molecules.

    Parameters
    ----------
    x : (N, 3) array
        Positions, A.
    terms : Terms
    energy : (N,) array
        Energies of the atoms, eV, which are added to.
    gradient : (N, 3) array
        Gradient of the energy, eV/A, which is added to.
    """
    d = x[:, None] - x[None]
    rr = np.einsum("ijx,ijx->ij", d, d)
    np.fill_diagonal(rr, 1.0)
    ratio = terms.sigma6 / rr**3
    energy += 2.0 * (terms.epsilon * (ratio**2 - ratio)).sum(1)
    gradient += np.einsum("ij,ijx->ix", terms.epsilon * (24.0 * ratio - 48.0 * ratio**2) / rr, d)

    y = terms.sites @ x
    d = y[:, None] - y[None]
    soft = 1.0 / np.sqrt(np.einsum("ijx,ijx->ij", d, d) + _SOFTENING**2)
    np.add.at(energy, terms.owners, 0.5 * (terms.coulomb * soft).sum(1))
    gradient += terms.sites.T @ np.einsum("ij,ijx->ix", -terms.coulomb * soft**3, d)


def add_coplanarity(x: FloatArray, terms: Terms, energy: FloatArray, gradient: FloatArray) -> None:
    """Add springs on the heights of H, N and C of donor b above the plane of acceptor a, scaled by their contact.

    See `add_pairs` for the parameters.
    """
    oxygen, carbon, nitrogen, hydrogen = terms.frames.T
    group = terms.frames[:, [3, 2, 1]]
    p, q = x[carbon] - x[oxygen], x[nitrogen] - x[oxygen]
    normal = np.cross(p, q)
    contact, slope, direction = _amide_contacts(x, terms)
    d = x[group][None] - x[oxygen][:, None, None]  # [a, b, atom]
    height = np.einsum("ax,abkx->abk", normal, d)
    work = 0.5 * _COPLANAR_SPRING * np.einsum("abk,abk->ab", height, height)
    energy[oxygen] += 0.5 * (contact * work).sum(1)
    energy[hydrogen] += 0.5 * (contact * work).sum(0)
    weight = _COPLANAR_SPRING * contact[..., None] * height
    np.add.at(gradient, group, np.einsum("abk,ax->bkx", weight, normal))
    turning = np.einsum("abk,abkx->ax", weight, d)
    on_carbon, on_nitrogen = np.cross(q, turning), np.cross(turning, p)
    pull = (slope * work)[..., None] * direction
    gradient[carbon] += on_carbon
    gradient[nitrogen] += on_nitrogen
    gradient[hydrogen] += pull.sum(0)
    gradient[oxygen] -= on_carbon + on_nitrogen + weight.sum((1, 2))[:, None] * normal + pull.sum(1)


def add_bends(x: FloatArray, terms: Terms, energy: FloatArray, gradient: FloatArray) -> None:
    """Add springs on the cosine between C->O and O..H, scaled by the contact; syn and anti H-bonds are minima.

    See `add_pairs` for the parameters.
    """
    oxygen, carbon, _, hydrogen = terms.frames.T
    axis = x[oxygen] - x[carbon]
    length = np.linalg.norm(axis, axis=1)
    axis = axis / length[:, None]
    contact, slope, direction = _amide_contacts(x, terms)
    cosine = np.einsum("ax,abx->ab", axis, direction)
    bend = cosine - _BEND_COSINE
    work = 0.5 * _BEND_SPRING * bend**2
    energy[oxygen] += 0.5 * (contact * work).sum(1)
    energy[hydrogen] += 0.5 * (contact * work).sum(0)
    weight = (_BEND_SPRING * contact * bend)[..., None]
    distance = np.linalg.norm(x[hydrogen][None] - x[oxygen][:, None], axis=-1)[..., None]
    on_hydrogen = weight * (axis[:, None] - cosine[..., None] * direction) / distance
    on_hydrogen += (slope * work)[..., None] * direction
    on_axis = (weight * (direction - cosine[..., None] * axis[:, None])).sum(1) / length[:, None]
    gradient[hydrogen] += on_hydrogen.sum(0)
    gradient[oxygen] += on_axis - on_hydrogen.sum(1)
    gradient[carbon] -= on_axis


def _amide_contacts(x: FloatArray, terms: Terms) -> tuple[FloatArray, FloatArray, FloatArray]:
    """`_switch` of the vectors from the O of every amide to the H of every other one; zero within an amide."""
    oxygen, _, _, hydrogen = terms.frames.T
    contact, slope, direction = _switch(x[hydrogen][None] - x[oxygen][:, None])
    np.fill_diagonal(contact, 0.0)
    np.fill_diagonal(slope, 0.0)
    return contact, slope, direction


def _switch(d: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Smooth step of the lengths of `d` (..., 3) from 1 to 0 over `CONTACT`, its derivative, and the unit vectors."""
    r = np.linalg.norm(d, axis=-1)
    inner, outer = CONTACT
    t = np.clip((r - inner) / (outer - inner), 0.0, 1.0)
    step = 1.0 - t**3 * (10.0 - 15.0 * t + 6.0 * t**2)
    return step, -30.0 * t**2 * (1.0 - t) ** 2 / (outer - inner), d / r[..., None]


def contacts(x: FloatArray, terms: Terms) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Switched contact of every donor H with every O of another molecule.

    Parameters
    ----------
    x : (N, 3) array
        Positions, A.
    terms : Terms

    Returns
    -------
    tuple of array
        Contacts, (donors, acceptors), their derivatives by the distance, 1/A, and the unit vectors from O to H.
    """
    contact, slope, direction = _switch(x[terms.donors][:, None] - x[terms.acceptors][None])
    apart = terms.donor_of[:, None] != terms.acceptor_of[None, :]
    return contact * apart, slope * apart, direction


def donations(contact: FloatArray, terms: Terms) -> FloatArray:
    """Sum contacts by molecule.

    Parameters
    ----------
    contact : (donors, acceptors) array
        From `contacts`.
    terms : Terms

    Returns
    -------
    (M, M) array
        D[c, b]: contacts in which molecule c donates to molecule b.
    """
    count = 1 + int(max(terms.donor_of.max(), terms.acceptor_of.max()))
    table = np.zeros((count, count))
    np.add.at(table, (terms.donor_of[:, None], terms.acceptor_of[None, :]), contact)
    return table


def add_cooperativity(x: FloatArray, terms: Terms, strength: float, energy: FloatArray, gradient: FloatArray) -> None:
    """Add the three-molecule term: H-bonds donated and accepted by a molecule strengthen each other.

    Parameters
    ----------
    x, terms, energy, gradient
        As in `add_pairs`.
    strength : float
        Energy of one triple with two fully formed H-bonds, eV.
    """
    contact, slope, direction = contacts(x, terms)
    table = donations(contact, terms)
    given, taken = table.sum(1), table.sum(0)
    through = given * taken - np.einsum("ab,ba->b", table, table)
    # Assigned to the O of the molecule in the middle; each molecule has exactly one.
    energy[terms.acceptors] -= strength * through
    # D[c, b] enters with every onward donation of b that does not return to c, and every donation to c not from b.
    partner = given[None, :] + taken[:, None] - 2.0 * table.T
    pull = (-strength * slope * partner[np.ix_(terms.donor_of, terms.acceptor_of)])[..., None] * direction
    np.add.at(gradient, terms.donors, pull.sum(1))
    np.add.at(gradient, terms.acceptors, -pull.sum(0))


def cooperative_energy(structure: Structure, a: int, b: int, strength: float = STRENGTH) -> float:
    """Electronic dV of the pair of molecules `a`, `b` in closed form.

    It is `strength` times the sum of D D over the triples that contain both. In a chain whose only contacts are its
    H-bonds i with values s_i this is ``strength * s_i * (s_(i-1) + s_(i+1))``.

    Parameters
    ----------
    structure : Structure
        Molecules ``nma`` and ``water``.
    a, b : int
        Molecules of the pair.
    strength : float
        Energy of one triple, eV.

    Returns
    -------
    float
        eV.
    """
    terms = terms_of(structure.kinds)
    table = donations(contacts(structure.positions, terms)[0], terms)
    total = 0.0
    for other in sorted(set(range(len(structure.kinds))) - {a, b}):
        for first, middle, last in permutations((a, b, other)):
            total += table[first, middle] * table[middle, last]
    return strength * float(total)


@dataclass(frozen=True, slots=True)
class ToyPotential(base.SequentialPotential):
    """The analytic potential.

    Attributes
    ----------
    strength : float
        Energy of one triple with two fully formed H-bonds, eV.
    """

    strength: float

    def compute_single(self, structure: Structure, forces: bool, atom_energies: bool) -> base.Evaluation:
        if unknown := sorted(set(structure.kinds) - {"nma", "water"}):
            found = ", ".join(unknown)
            raise base.ModelError(f"model {self.card.name}: expected molecules nma or water, found {found}")
        terms, x = terms_of(structure.kinds), structure.positions
        energy, gradient = np.zeros(len(x)), np.zeros_like(x)
        for add in (add_springs, add_volumes, add_methyls, add_pairs, add_coplanarity, add_bends):
            add(x, terms, energy, gradient)
        if self.strength:
            add_cooperativity(x, terms, self.strength, energy, gradient)
        return base.Evaluation(
            float(energy.sum()), forces=-gradient if forces else None, atom_energies=energy if atom_energies else None
        )


def _card(name: str, strength: float) -> base.ModelCard:
    return base.ModelCard(
        name=name,
        family="toy",
        about=base.About(
            level_of_theory="none: an analytic test potential",
            licence="MIT (hbcoop_dist)",
            citation="hbcoop_dist, this package",
            elements=(1, 6, 7, 8),
            long_range=True,
        ),
        abilities=base.Abilities(atom_energies=True, batched=False, needs_topology=True),
        needs=Requirements(packages=("numpy",)),
        options={"method": f"{name} version 1", "strength": strength},
    )


class ToyFamily(base.ModelFamily):
    """The analytic potential with and without cooperativity."""

    cards = (_card("toy", STRENGTH), _card("toy-additive", 0.0))

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> ToyPotential:
        base.require_plain(card, checkpoint, device, dtype)
        strength = card.options["strength"]
        assert isinstance(strength, float)
        return ToyPotential(card, checkpoints.identity(card), device, strength)


FAMILY = ToyFamily()
