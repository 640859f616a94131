"""Every model that can run here keeps the contract; the suite itself finds models that do not."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hbcoop_dist.models import Evaluation, ModelCard, Potential, available, cards, load
from hbcoop_dist.models.checkpoints import embedded
from hbcoop_dist.models.checks.contract import check, probes
from hbcoop_dist.models.checks.smoothness import largest_jump
from hbcoop_dist.structures import Structure, monomer
from hbcoop_dist.testing.models import ModelContract

ALWAYS = ("so3lr", "gfn2-xtb", "gfn1-xtb", "amber14", "amoeba2018", "toy", "toy-additive")


@functools.cache
def loaded(name: str) -> Potential:
    return load(name)


class _BuiltIn(ModelContract):
    must_run = ALWAYS


class TestAimnet(_BuiltIn):
    family = "aimnet"


class TestAni(_BuiltIn):
    family = "ani"


class TestMace(_BuiltIn):
    family = "mace"
    # Networks that differ in their parameters only; test_mace.py has others.
    slow = ("mace-r-4-l-0", "mace-r-4.5-l-0", "maceles-r-4.5-l-0")


class TestOpenmm(_BuiltIn):
    family = "openmm"


class TestOrb(_BuiltIn):
    family = "orb"


class TestSevenNet(_BuiltIn):
    family = "sevennet"


class TestSo3lr(_BuiltIn):
    family = "so3lr"


class TestToy(_BuiltIn):
    family = "toy"


class TestXtb(_BuiltIn):
    family = "xtb"
    slow = ("gfn1-xtb",)


def test_loading_leaves_the_default_float_type_alone() -> None:
    import torch

    before = torch.get_default_dtype()
    loaded("so3lr").evaluate([monomer()])
    assert torch.get_default_dtype() == before


def test_loading_and_evaluating_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for name in sorted(ALWAYS):
        load(name).evaluate([monomer()], atom_energies=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_so3lr_is_the_untruncated_limit_of_the_package_s_calculator() -> None:
    """With a growing cutoff the package's own energies tend to ours as 1 / cutoff (its shift q_i q_j / cutoff)."""
    from so3krates_torch.calculator.so3 import TorchkratesCalculator

    nma = monomer().positions
    structure = Structure.from_molecules([("nma", nma), ("nma", nma + [0.3, 4.75, 0.1])])
    ours = loaded("so3lr").evaluate([structure])[0].energy
    shipped = embedded(cards()["so3lr"])
    assert shipped is not None
    import torch

    gaps, before = [], torch.get_default_dtype()
    for cutoff in (1e3, 1e4):
        atoms = structure.to_ase()
        try:
            atoms.calc = TorchkratesCalculator(
                model_paths=str(shipped.path),
                r_max_lr=cutoff,
                dispersion_energy_cutoff_lr_damping=2.0,
                default_dtype="float64",
            )
            gaps.append(atoms.get_potential_energy() - ours)
        finally:
            torch.set_default_dtype(before)
    assert abs(gaps[0]) < 0.02
    assert gaps[1] == pytest.approx(gaps[0] / 10, rel=0.01)


@pytest.mark.parametrize("name", ["so3lr", "ani-2x"])
def test_long_chain_in_a_batch_equals_it_alone(name: str) -> None:
    if not (state := available(cards()[name])):
        pytest.skip(state.reason)
    nma = monomer().positions
    chains = [Structure.from_molecules([("nma", nma + [0.0, 4.8 * k, 0.0]) for k in range(n)]) for n in (1, 6, 2)]
    together = loaded(name).evaluate(chains)
    for chain, batched in zip(chains, together, strict=True):
        alone = loaded(name).evaluate([chain])[0]
        assert batched.energy == pytest.approx(alone.energy, abs=1e-9)
        assert batched.forces is not None
        assert alone.forces is not None
        np.testing.assert_allclose(batched.forces, alone.forces, atol=1e-10)


@dataclass(frozen=True, slots=True)
class Flawed:
    """The toy potential with one law broken."""

    card: ModelCard
    flaw: str
    parameter_hash: str = ""
    device: str = "cpu"

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        results = loaded("toy").evaluate(structures, forces=forces, atom_energies=atom_energies)
        return [self._spoilt(s, r, len(structures)) for s, r in zip(structures, results, strict=True)]

    def _spoilt(self, structure: Structure, result: Evaluation, batch: int) -> Evaluation:
        energy = result.energy
        match self.flaw:
            case "finite":
                energy = float("nan")
            case "forces are the gradient" if result.forces is not None:
                return replace(result, forces=1.0001 * result.forces)
            case "batch equals loop":
                energy += 1e-6 * (batch > 1)
            case "rotation":
                energy += 1e-3 * float(structure.positions[0, 0] - structure.positions[1, 0])
            case "mirror image":
                sides = structure.positions[1:4] - structure.positions[0]
                energy += 1e-3 * float(np.linalg.det(sides))
            case "translation":
                # What a neighbour list anchored at the origin does.
                energy += 1.0 * bool((structure.positions < -7.0).any())
            case "smooth through the cutoff":
                energy += 1e-3 * (_apart(structure) > 5.0)
            case "smooth at the declared cutoff":
                energy += 1e-6 * (_apart(structure, 8, 7) > 5.0)
            case "smooth in the forces" if result.forces is not None and _apart(structure) > 5.0:
                return replace(result, forces=result.forces + 1e-4)
            case "atom energies" if result.atom_energies is not None:
                return replace(result, atom_energies=result.atom_energies + 1e-6)
            case "members":
                return replace(result, member_energies=energy + np.array([-1e-3, 2e-3]))
        return replace(result, energy=energy)


def _apart(structure: Structure, *elements: int) -> float:
    """Shortest distance between the first two molecules, of one element each where given, A; 0 where there is one."""
    if len(structure.kinds) < 2:
        return 0.0
    first, second = (structure.atoms_of(molecule) for molecule in (0, 1))
    if elements:
        first, second = first[structure.numbers[first] == elements[0]], second[structure.numbers[second] == elements[1]]
    between = structure.positions[first][:, None] - structure.positions[second][None]
    return float(np.linalg.norm(between, axis=2).min())


@pytest.mark.parametrize(
    "flaw",
    [
        "finite",
        "forces are the gradient",
        "smooth through the cutoff",
        "batch equals loop",
        "rotation",
        "mirror image",
        "translation",
        "atom energies",
        "members",
    ],
)
def test_contract_finds_the_flaw(flaw: str) -> None:
    results = {result.name: result for result in check(Flawed(cards()["toy"], flaw))}
    assert not results[flaw].passed


def test_contract_measures_what_a_card_does_not_promise() -> None:
    honest = cards()["toy"].with_fields(forces_are_gradient=False)
    result = next(r for r in check(Flawed(honest, "forces are the gradient")) if r.name == "forces are the gradient")
    assert result.passed
    assert result.limit is None
    assert result.measured > 1e-6


def test_jump_is_measured_where_it_is_and_as_large_as_it_is() -> None:
    dimer = probes()["dimer"]
    found = largest_jump(Flawed(cards()["toy"], "smooth through the cutoff"), dimer)
    assert found.energy == pytest.approx(1e-3, rel=1e-3)
    assert found.contact == pytest.approx(5.0, abs=1e-5)
    found = largest_jump(Flawed(cards()["toy"], "smooth in the forces"), dimer)
    assert found.force == pytest.approx(1e-4, rel=1e-3)
    assert found.energy < 1e-8


def test_a_small_jump_is_seen_where_pairs_leave_the_declared_cutoff() -> None:
    dimer, near = probes()["dimer"], cards()["toy"].with_fields(cutoff=5.0)
    assert largest_jump(Flawed(near, "smooth at the declared cutoff"), dimer).energy == pytest.approx(1e-6, rel=1e-3)
    assert largest_jump(Flawed(near, ""), dimer).energy < 1e-8


def test_jumps_of_a_model_that_does_not_promise_smoothness_are_reported_only() -> None:
    honest = cards()["toy"].with_fields(smooth=False)
    name = "smooth through the cutoff"
    result = next(one for one in check(Flawed(honest, name)) if one.name == name)
    assert (result.passed, result.limit) == (True, None)
    assert result.measured == pytest.approx(1e-3, rel=1e-3)


def test_contract_wants_a_reason_for_float32() -> None:
    hasty = cards()["toy"].with_fields(dtype="float32")
    assert not next(r for r in check(Flawed(hasty, "")) if r.name == "float type").passed


def test_contract_notices_an_element_that_is_evaluated_though_undeclared() -> None:
    class Careless(Flawed):
        __slots__ = ()

        def evaluate(
            self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
        ) -> list[Evaluation]:
            return [Evaluation(0.0, np.zeros((len(s), 3))) for s in structures]

    results = {result.name: result for result in check(Careless(cards()["toy"], ""))}
    assert not results["unknown element refused"].passed
