"""The ANI kernel gives what torchani gives: energies, atom energies and forces, for batches of any shapes.

torchani's forces are taken with one correction.  torch 2.13 differentiates CELU with a float32 copy of 1 / alpha, in
float64 too: for ANI's 0.1 slopes are wrong by about 1e-8 of themselves and forces by some 1e-7 eV/A.  The reference
spells CELU out, which changes no energy; one test compares with torchani as it is.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.data import chemical_symbols
from ase.units import Hartree

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.models import Evaluation, available, cards, checkpoints, load
from hbcoop_dist.models.families import ani
from hbcoop_dist.models.families.ani import AniPotential
from hbcoop_dist.structures import Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build, donor_water

NAMES = tuple(card.name for card in ani.FAMILY.cards)
NITROGEN = 7


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return required(request.param)


def required(name: str) -> str:
    if not (state := available(cards()[name])):
        pytest.skip(state.reason)
    return name


@functools.cache
def ours(name: str) -> AniPotential:
    potential = load(name)
    assert isinstance(potential, AniPotential)
    return potential


def spelt_out(network: Any) -> Any:
    """The same network with CELU as the formula of its documentation, which torch differentiates exactly."""
    import torch

    class Celu(torch.nn.Module):
        def __init__(self, alpha: float) -> None:
            super().__init__()
            self.alpha = alpha

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.clamp(min=0) + self.alpha * torch.expm1(x.clamp(max=0) / self.alpha)

    for name, layer in list(network.named_modules()):
        if isinstance(layer, torch.nn.CELU):
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, Celu(layer.alpha))
    return network


@functools.cache
def torchani_modules(name: str) -> tuple[Any, Any, Any, list[str]]:
    """torchani's own descriptor, ensemble and self-energies, read by its own loader, float64."""
    neurochem = ani._import_torchani()
    from torchani.aev import AEVComputer

    folder: Path = checkpoints.find(cards()[name]).path
    constants = neurochem.Constants(str(next(folder.glob("*.params"))))
    ensemble = neurochem.load_model_ensemble(constants.species, str(folder / "train"), 8)
    shifter = neurochem.load_sae(str(folder / "sae_linfit.dat"))
    return AEVComputer(**constants).double(), ensemble.double(), shifter.double(), constants.species


@functools.cache
def exact_ensemble(name: str) -> Any:
    return spelt_out(copy.deepcopy(torchani_modules(name)[1]))


def reference(name: str, structure: Structure, exact: bool = True) -> Evaluation:
    """torchani's evaluation of one structure."""
    import torch

    descriptor, shipped, shifter, known = torchani_modules(name)
    ensemble = exact_ensemble(name) if exact else shipped
    species = torch.tensor([[known.index(chemical_symbols[z]) for z in structure.numbers]])
    positions = torch.tensor(structure.positions[None], requires_grad=True)
    features = descriptor((species, positions))
    energy = shifter(ensemble(features)).energies.sum()
    atoms = torch.stack([member._atomic_energies(features) for member in ensemble]).mean(0)
    lone = shifter.self_energies[species]
    (slopes,) = torch.autograd.grad(energy, positions)
    return Evaluation(
        energy=float(energy.detach()) * Hartree,
        forces=-slopes[0].numpy() * Hartree,
        atom_energies=(atoms + lone)[0].detach().numpy() * Hartree,
    )


def of(numbers: Sequence[int], positions: Any) -> Structure:
    return Structure(np.array(numbers), np.array(positions, dtype=float), np.zeros(len(numbers), int), ("other",))


def shaken(structure: Structure, seed: int, width: float = 0.05) -> Structure:
    random = np.random.default_rng(seed)
    return structure.with_positions(structure.positions + width * random.standard_normal(structure.positions.shape))


def line(numbers: Sequence[int], *distances: float) -> Structure:
    """Atoms on the x axis, at these distances from the first."""
    return of(numbers, [[x, 0.0, 0.0] for x in (0.0, *distances)])


def cluster(*, elements: Sequence[int], count: int, seed: int) -> Structure:
    """Atoms on a shaken grid of 1.6 A, elements in turn."""
    grid = 1.6 * np.stack(np.meshgrid(*[np.arange(3.0)] * 3), -1).reshape(-1, 3)[:count]
    return shaken(of([elements[k % len(elements)] for k in range(count)], grid), seed, 0.15)


@functools.cache
def structures() -> dict[str, Structure]:
    one, water = monomer().positions, donor_water()
    pair = Structure.from_molecules([("nma", one), ("nma", one + [1.2, 4.7, 0.3])])
    near, far = np.array([30.0, 0.0, 0.0]), np.array([100.0, -70.0, 20.0])
    rng = np.random.default_rng(11)
    ring = rng.standard_normal((14, 3))
    ring /= np.linalg.norm(ring, axis=1, keepdims=True)
    return {
        "monomer": shaken(monomer(), 1),
        "another monomer": shaken(monomer(), 2, 0.1),
        "dimer": shaken(pair, 3),
        "linear chain": shaken(build(make_chain("linear", 4)), 4),
        "capped hexamer": shaken(build(make_chain("arc", 6, "water")), 5),
        "water": shaken(Structure.from_molecules([("water", water)]), 6),
        "far molecules": Structure.from_molecules([("nma", one), ("water", water + near), ("nma", one + far)]),
        "lone atoms": of([8, 1, 6], [[0, 0, 0], [50, 0, 0], [0, 50, 0]]),
        "one atom": of([7], [[3.0, 2.0, 1.0]]),
        "hydrogen": of([1, 1], [[0, 0, 0], [0.74, 0.1, 0]]),
        "carbons only": cluster(elements=[6], count=9, seed=7),
        "in line": line([8, 6, 8, 1], 1.16, -1.16, 2.3),
        # A centre with 14 neighbours within 1e-4 A of one cutoff or the other, on both sides and on it.
        "angular cutoff": of(
            [6] + [1, 8] * 7, np.vstack([np.zeros(3), ring * (3.5 + np.linspace(-1e-4, 1e-4, 14)[:, None])])
        ),
        "radial cutoff": of(
            [6] + [1, 8] * 7, np.vstack([np.zeros(3), ring * (5.1 + np.linspace(-0.1001, 0.1001, 14)[:, None])])
        ),
        "on the cutoffs": line([6, 1, 7, 8, 1], 3.5, -3.5, 5.1, 5.2),
        "dense": cluster(elements=[1, 8, 6, 7], count=24, seed=8),
    }


OTHERS = {
    "chlorofluoromethane": of(
        [6, 9, 17, 1, 1], [[0, 0, 0], [1.36, 0, 0.1], [-0.6, 1.65, 0], [-0.4, -0.5, 0.9], [-0.4, -0.5, -0.9]]
    ),
    "methanethiol": of(
        [6, 16, 1, 1, 1, 1],
        [[0, 0, 0], [1.82, 0, 0], [2.1, 1.3, 0.1], [-0.4, 1.0, 0], [-0.4, -0.5, 0.9], [-0.4, -0.5, -0.9]],
    ),
    "all seven": cluster(elements=[1, 6, 7, 8, 9, 16, 17], count=27, seed=9),
    "sulfur only": cluster(elements=[16], count=8, seed=10),
    "NMA and Cl": of([*monomer().numbers, 17], np.vstack([monomer().positions, [0.5, 0.5, 3.3]])),
}


def assert_same(found: Evaluation, expected: Evaluation, energy: float = 1e-9, force: float = 1e-8) -> None:
    assert found.energy == pytest.approx(expected.energy, rel=0, abs=energy)
    assert found.atom_energies is not None
    assert found.forces is not None
    np.testing.assert_allclose(found.atom_energies, np.asarray(expected.atom_energies), rtol=0, atol=energy)
    np.testing.assert_allclose(found.forces, np.asarray(expected.forces), rtol=0, atol=force)


def assert_torchani(name: str, batch: dict[str, Structure]) -> None:
    results = ours(name).evaluate(list(batch.values()), atom_energies=True)
    for structure, result in zip(batch.values(), results, strict=True):
        assert_same(result, reference(name, structure))


def test_ragged_batch_equals_torchani(name: str) -> None:
    assert_torchani(name, structures())


def test_torchani_as_it_is_differs_by_the_float32_of_its_celu_only(name: str) -> None:
    for label in ("monomer", "dimer", "water", "in line"):
        (result,) = ours(name).evaluate([structures()[label]], atom_energies=True)
        assert_same(result, reference(name, structures()[label], exact=False), force=3e-7)


@pytest.mark.parametrize("label", list(structures()))
def test_structure_alone_equals_torchani(label: str) -> None:
    assert_torchani(required("ani-2x"), {label: structures()[label]})


@pytest.mark.parametrize("label", list(OTHERS))
def test_elements_that_nma_lacks(label: str) -> None:
    assert_torchani(required("ani-2x"), {label: OTHERS[label]})


def test_elements_that_nma_lacks_beside_nma() -> None:
    few = {label: structures()[label] for label in ("dimer", "water", "one atom", "capped hexamer")}
    assert_torchani(required("ani-2x"), OTHERS | few)


def test_batch_equals_loop_in_any_order(name: str) -> None:
    """To 1e-12, or to the last digit of energies of some 1e4 eV."""
    batch = list(structures().values())
    together = ours(name).evaluate(batch, atom_energies=True)
    backwards = ours(name).evaluate(batch[::-1], atom_energies=True)[::-1]
    for structure, one, two in zip(batch, together, backwards, strict=True):
        (alone,) = ours(name).evaluate([structure], atom_energies=True)
        for result in (one, two):
            assert_same(result, alone, energy=max(1e-12, 2 * np.spacing(abs(alone.energy))), force=1e-12)


def test_less_is_given_when_less_is_asked() -> None:
    potential, batch = ours(required("ani-2x")), list(structures().values())
    whole = potential.evaluate(batch, atom_energies=True)
    bare = potential.evaluate(batch, forces=False)
    for full, lean in zip(whole, bare, strict=True):
        assert lean.energy == full.energy
        assert lean.forces is None
        assert lean.atom_energies is None
    assert potential.evaluate([]) == []


def test_results_do_not_depend_on_what_was_evaluated_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Selected weights are kept for few sets of columns, and made again when they were dropped."""
    from hbcoop_dist.models.families import ani_kernel as ani_networks

    potential, batch = ours(required("ani-2x")), {**structures(), **OTHERS}
    monkeypatch.setattr(ani_networks, "_CACHED_LAYERS", 2)
    first = [potential.evaluate([structure])[0] for structure in batch.values()]
    again = [potential.evaluate([structure])[0] for structure in reversed(batch.values())][::-1]
    assert len(potential.ensemble._first_layers) <= 2
    for one, two in zip(first, again, strict=True):
        assert one.energy == two.energy
        np.testing.assert_array_equal(np.asarray(one.forces), np.asarray(two.forces))


def test_forces_are_the_gradient_across_the_angular_cutoff() -> None:
    potential = ours(required("ani-2x"))
    centre, step = line([6, 1, 8], 3.5 - 1e-6, -1.2), 5e-6
    shifts = [centre.with_positions(centre.positions + k * step * np.eye(3)[1][:, None] * [1, 0, 0]) for k in (1, -1)]
    up, down = (result.energy for result in potential.evaluate(shifts, forces=False))
    forces = potential.evaluate([centre])[0].forces
    assert forces is not None
    assert (down - up) / (2 * step) == pytest.approx(forces[1, 0], abs=1e-5)


def test_coincident_atoms_give_numbers() -> None:
    clash = of([6, 1, 8, 1], [[0, 0, 0], [0, 0, 0], [1.2, 0, 0], [0, 1.0, 0]])
    (result,) = ours(required("ani-2x")).evaluate([clash])
    assert np.isfinite(result.energy)
    assert result.forces is not None
    assert np.isfinite(result.forces).all()


def test_members_stay_apart_until_the_mean() -> None:
    potential, structure = ours(required("ani-2x")), structures()["dimer"]
    members, _ = potential._network([structure], potential.species_of[structure.numbers], False)
    import torch

    descriptor, ensemble, _, known = torchani_modules("ani-2x")
    species = torch.tensor([[known.index(chemical_symbols[z]) for z in structure.numbers]])
    features = descriptor((species, torch.tensor(structure.positions[None])))
    expected = torch.stack([member._atomic_energies(features)[0] for member in ensemble]).detach().numpy()
    np.testing.assert_allclose(members, expected, rtol=0, atol=1e-11)
    (found,) = potential.evaluate([structure], forces=False)
    lone = potential.self_energies[potential.species_of[structure.numbers]].sum()
    # some 1e4 eV of self-energies, so that round-off is larger than above
    np.testing.assert_allclose(found.member_energies, (expected.sum(1) + lone) * Hartree, rtol=0, atol=1e-8)


def test_no_tensor_is_made_on_the_default_device() -> None:
    """All follow the potential's device, or a GPU would meet tensors of the host."""
    import torch

    potential, batch = ours(required("ani-2x")), list(structures().values())
    potential.ensemble._first_layers.clear()
    with torch.device("meta"):
        elsewhere = potential.evaluate(batch, atom_energies=True)
    for found, expected in zip(elsewhere, potential.evaluate(batch, atom_energies=True), strict=True):
        assert_same(found, expected, energy=0.0, force=0.0)


def test_float32_is_near_float64() -> None:
    card = cards()[required("ani-2x")]
    single = ani.FAMILY.load(card, checkpoints.find(card).path, "cpu", "float32")
    batch = list(structures().values())
    for found, expected in zip(single.evaluate(batch), ours("ani-2x").evaluate(batch), strict=True):
        assert found.energy == pytest.approx(expected.energy, abs=1e-3)
        assert found.forces is not None
        assert found.forces.dtype == np.float64
        np.testing.assert_allclose(found.forces, np.asarray(expected.forces), atol=0.02)


def test_work_grows_by_what_is_there_not_by_the_largest() -> None:
    """Rows of the pair and triple lists, and columns of the networks, of a ragged batch."""
    import torch

    from hbcoop_dist.models.families.ani_kernel import describe

    potential = ours(required("ani-2x"))

    def lists(batch: Sequence[Structure]) -> Any:
        species = torch.tensor(np.concatenate([potential.species_of[s.numbers] for s in batch]))
        positions = torch.tensor(np.concatenate([s.positions for s in batch]))
        return describe(potential.ensemble.constants, species, positions, [len(s) for s in batch])

    small, large = structures()["water"], structures()["capped hexamer"]

    def count(environments: Any) -> FloatArray:
        return np.array([len(environments.radial.row), len(environments.angular.row)])

    together = lists([small] * 50 + [large])
    np.testing.assert_array_equal(count(together), 50 * count(lists([small])) + count(lists([large])))
    widths = {element: features.shape[1] for element, features in together.features.items()}
    assert max(widths.values()) <= 384
    assert widths[int(potential.species_of[NITROGEN])] == 256  # no N has an N in reach, and none two H-bonded O
