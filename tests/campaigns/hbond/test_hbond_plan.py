"""Plans of chains: every shared task once, inputs first, and keys that depend on what decides a result and no more."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hbcoop_dist.campaigns.hbond.plan import BATCH_ATOMS, HBondPlan, choose_rotamers, make_plan, single_points
from hbcoop_dist.campaigns.hbond.rotamer_search import ROTAMERS
from hbcoop_dist.campaigns.hbond.spec import HBondSpec, Minimize
from hbcoop_dist.campaigns.hbond.task_graph import (
    PROTOCOL_VERSION,
    CandidateResult,
    energies_text,
    minimise_text,
    task_key,
)
from hbcoop_dist.campaigns.model_tasks import model_text
from hbcoop_dist.core.results import Status, TaskResult
from hbcoop_dist.models import ModelError, registry
from hbcoop_dist.models.registry import ModelSource
from hbcoop_dist.optimize.constraints import Constraint
from hbcoop_dist.references import ReferenceSetError
from hbcoop_dist.structures import Chain, make_chain
from hbcoop_dist.structures.monomers import build


def planned(**fields: Any) -> HBondPlan:
    return make_plan(HBondSpec.model_validate({"campaign": "test", "models": ["toy"], **fields}))


def put_geometries(folder: Path, *chains: Chain, shift: float = 0.0) -> str:
    """Write chains as a reference set; `shift` moves one atom, A."""
    folder.mkdir(exist_ok=True)
    for chain in chains:
        atoms = build(chain).to_ase()
        atoms.positions[0, 2] += shift
        atoms.write(folder / f"{chain.length}.xyz", format="xyz")
    return str(folder)


@pytest.mark.parametrize(("length", "points"), [(2, 3), (3, 3 + 7), (4, 3 + 13), (6, 3 + 23)])
def test_distinct_single_points_of_one_chain(length: int, points: int) -> None:
    """Those of the chain (3, 7, 13, 4 n - 1) and the three of the isolated syn dimer."""
    assert single_points(planned(lengths=[length])) == {"toy": points}


def test_shared_tasks_occur_once() -> None:
    """Arc and linear share the syn dimer, and at n = 2 the whole cell; every length shares monomer and dimers."""
    made = planned(lengths=[2, 3], patterns=["arc", "linear"])
    kinds = [task.kind for task in made.tasks.values()]
    assert len(made.cells) == 4
    assert kinds.count("monomer") == 1
    assert kinds.count("minimise") == 4  # syn dimer, anti dimer, arc trimer, linear trimer
    assert kinds.count("energies") == 4


def test_batches_have_their_inputs_before_them_and_are_of_limited_size() -> None:
    made = planned(lengths="2..8", patterns=["arc", "linear"], capping=["none", "water"])
    seen: set[str] = set()
    for batch in made.batches:
        assert set(batch.inputs) <= seen
        keys = [task.key for task in batch.tasks]
        assert not seen & set(keys)
        seen.update(keys)
        minimised = [task.n_atoms for task in batch.tasks if task.kind == "minimise"]
        assert sum(minimised) <= BATCH_ATOMS["cpu"]
    assert seen == set(made.tasks)


def test_a_result_does_not_depend_on_the_other_cells_of_the_spec() -> None:
    alone, many = planned(lengths=[5]), planned(lengths="2..8", patterns=["arc", "linear"])
    assert set(alone.tasks) < set(many.tasks)
    for key, task in alone.tasks.items():
        assert task == many.tasks[key]


def test_a_key_is_the_hash_of_the_documented_content() -> None:
    """Design, section 4: checkpoint, float type, options, protocol and structure; nothing else."""
    made = planned(lengths=[2], minimize={"max_force": 1e-4}, constraint=["mirror"])
    source = made.sources["toy"]
    model = {
        "family": "toy",
        "checkpoint": source.identity,
        "dtype": "float64",
        "options": {"method": "toy version 1", "strength": str(registry.card("toy").options["strength"])},
    }
    minimize = {"max_force": 1e-4, "rms_force": None, "constraint": "mirror", "optimiser": "tree"}
    system = {"conformers": ["syn"], "rotamers": ["cis-N, trans-C"] * 2, "capping": "none"}
    common = {"version": PROTOCOL_VERSION, "model": model}
    minimised = {**common, "kind": "minimise", "minimize": minimize, "system": system}
    energies = {**common, "kind": "energies", "geometry": _hash(minimised), "fragments": None}
    (parts,) = {tasks.chain for tasks in made.cell_tasks.values()}
    assert (parts.minimise, parts.energies) == (_hash(minimised), (_hash(energies),))


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


CHAIN, MODEL = make_chain("arc", 3), "toy"


def _source(**changes: Any) -> ModelSource:
    identity = changes.pop("identity", "0" * 64)
    return ModelSource(registry.card(MODEL).with_fields(**changes), identity)


def _minimum(
    source: ModelSource | None = None,
    minimize: Minimize | None = None,
    constraint: Constraint = "mirror",
    **chain: Any,
) -> str:
    text = minimise_text("minimise", replace(CHAIN, **chain), minimize or Minimize(), constraint)
    return task_key(text, model_text(source or _source()))


def _energies(
    source: ModelSource | None = None, geometry: str = "a", given: float | None = None, fragments: Any = None
) -> str:
    structure = None
    if given is not None:
        structure = build(CHAIN)
        structure = structure.with_positions(structure.positions + [[given, 0.0, 0.0], *[[0.0] * 3] * 35])
    return task_key(energies_text(structure, fragments), model_text(source or _source()), geometry)


CHANGES_OF_A_MINIMUM: dict[str, Callable[[], str]] = {
    "checkpoint": lambda: _minimum(_source(identity="1" * 64)),
    "float type": lambda: _minimum(_source(dtype="float32")),
    "family": lambda: _minimum(_source(family="ani")),
    "an option": lambda: _minimum(_source(options={**registry.card(MODEL).options, "strength": 0.5})),
    "another option": lambda: _minimum(_source(options={**registry.card(MODEL).options, "head": "a"})),
    "max_force": lambda: _minimum(minimize=Minimize(max_force=1e-4)),
    "rms_force": lambda: _minimum(minimize=Minimize(rms_force=1e-4)),
    "constraint": lambda: _minimum(constraint="torsions"),
    "another constraint": lambda: _minimum(constraint="none"),
    "optimiser": lambda: _minimum(minimize=Minimize(optimiser="ase-lbfgs")),
    "engine": lambda: _minimum(minimize=Minimize.model_validate({"engine": "openmm"})),
    "tolerance": lambda: _minimum(minimize=Minimize.model_validate({"engine": "openmm", "tolerance": 0.02})),
    "conformers": lambda: _minimum(conformers=("syn", "anti")),
    "rotamers": lambda: _minimum(rotamers=(*CHAIN.rotamers[:2], ROTAMERS[1])),
    "capping": lambda: _minimum(capping="water"),
    "length": lambda: task_key(
        minimise_text("minimise", make_chain("arc", 4), Minimize(), "mirror"), model_text(_source())
    ),
    "kind": lambda: task_key(minimise_text("candidate", CHAIN, Minimize(), "mirror"), model_text(_source())),
}
CHANGES_OF_ENERGIES: dict[str, Callable[[], str]] = {
    "checkpoint": lambda: _energies(_source(identity="1" * 64)),
    "float type": lambda: _energies(_source(dtype="float32")),
    "an option": lambda: _energies(_source(options={**registry.card(MODEL).options, "strength": 0.5})),
    "minimised geometry": lambda: _energies(geometry="b"),
    "given geometry": lambda: _energies(given=0.0),
    "another given geometry": lambda: _energies(given=1e-8),
    "fragments": lambda: _energies(fragments=((0, 1, 2),)),
    "other fragments": lambda: _energies(fragments=((0, 1),)),
}


@pytest.mark.parametrize(
    ("base", "changes"),
    [(_minimum, CHANGES_OF_A_MINIMUM), (_energies, CHANGES_OF_ENERGIES)],
    ids=["minimise", "energies"],
)
def test_each_input_of_a_key_changed_in_turn_gives_another_key(
    base: Callable[[], str], changes: dict[str, Callable[[], str]]
) -> None:
    keys = {"nothing": base(), **{name: change() for name, change in changes.items()}}
    assert keys["nothing"] == base()
    assert len(set(keys.values())) == len(keys), keys


def test_the_number_of_calls_granted_and_the_device_are_no_input_of_a_key() -> None:
    before = planned(lengths=[3])
    assert set(before.tasks) == set(planned(lengths=[3], minimize={"max_calls": 7}).tasks)
    assert set(before.tasks) == set(make_plan(before.spec, device="cuda:0").tasks)


def test_one_chain_at_two_given_geometries_has_two_keys(tmp_path: Path) -> None:
    dimer, trimer = make_chain("arc", 2), make_chain("arc", 3)
    folders = [
        put_geometries(tmp_path / "one", dimer, trimer),
        put_geometries(tmp_path / "two", dimer, trimer, shift=1e-6),
    ]
    made = planned(lengths=[2, 3], geometry=folders)
    assert len(made.tasks) == 4
    assert len({tasks.final_key for tasks in made.cell_tasks.values()}) == 4
    moved = planned(lengths=[2, 3], geometry=folders[0])
    assert set(moved.tasks) < set(made.tasks), "the name of the folder is no input"


def test_models_share_everything_but_their_keys() -> None:
    """Thousands of checkpoints ask for the same chains: one object each."""
    fields = {"patterns": ["arc", "linear"], "capping": ["none", "water"]}
    made = planned(models=["toy", "toy-additive"], lengths="2..8", **fields)
    first, second = ([task for task in made.tasks.values() if task.model == name] for name in ("toy", "toy-additive"))
    for a, b in zip(first, second, strict=True):
        assert a.chain is b.chain
        assert a.key != b.key
        assert all(x[1] is y[1] for x, y in zip(a.seeds, b.seeds, strict=True))
    cells = [[cell for cell in made.cells if cell.model == model] for model in ("toy", "toy-additive")]
    assert all(a.chain is b.chain for a, b in zip(*cells, strict=True))


def test_two_names_of_one_model_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = {name: registry.card("toy").with_fields(name=name) for name in ("toy", "toy-additive")}
    monkeypatch.setattr(registry, "card", toys.__getitem__)
    made = planned(models=["toy", "toy-additive"], lengths=[2, 3])
    assert {task.model for task in made.tasks.values()} == {"toy"}
    assert {batch.model for batch in made.batches} == {"toy"}
    assert len(made.cell_tasks) == 4


def test_a_model_that_cannot_run_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "cache"))
    made = planned(models=["toy", "ani-2x"], lengths=[2, 3])
    assert {cell.model for cell in made.skipped} == {"ani-2x"}
    assert len(made.cell_tasks) == 2
    reason = next(iter(made.skipped.values()))
    assert "expected checkpoint ani-2x_8x, found none" in reason
    assert str(tmp_path) in reason
    assert "2 cells skipped: model ani-2x: expected checkpoint" in str(made)


def test_an_absent_package_is_a_reason_to_skip_and_an_absent_checkpoint_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.model").write_bytes(b"weights")
    mine = {"name": "mine", "family": "mace", "checkpoint": str(tmp_path / "mine.model"), "trust": True}
    elsewhere = registry.card("mace-off23-small").with_fields(modules=("no_such_package",), environment="other")
    monkeypatch.setattr(registry, "custom_card", lambda *a, **k: elsewhere.with_fields(name="mine", trusted=True))
    made = planned(models=["toy", mine], lengths=[2])
    assert {cell.model for cell in made.skipped} == {"mine"}
    assert "make environment-other" in next(iter(made.skipped.values()))
    gone = {**mine, "checkpoint": str(tmp_path / "gone.model")}
    spec = HBondSpec.model_validate({"campaign": "x", "models": [gone], "lengths": [2]})
    with pytest.raises(ModelError, match="gone"):
        make_plan(spec, elsewhere={"other"})


def test_a_slow_model_gets_one_task_per_fragment(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = registry.card("toy").with_fields(single_point_cost="minutes")
    monkeypatch.setattr(registry, "card", lambda name: slow)
    made = planned(lengths=[3])
    energies = [task for task in made.tasks.values() if task.kind == "energies"]
    assert len(energies) == 7 + 3
    assert all(task.fragments is not None and len(task.fragments) == 1 for task in energies)
    assert all(len(batch.tasks) == 1 for batch in made.batches)


def test_given_geometries_need_no_minimisation(tmp_path: Path) -> None:
    folder = put_geometries(tmp_path / "qm", make_chain("arc", 2), make_chain("arc", 3))
    made = planned(lengths=[2, 3], patterns=["arc", "linear"], geometry=folder)
    assert {task.kind for task in made.tasks.values()} == {"energies"}
    assert len(made.tasks) == 2
    assert [reason.split("has no ")[1] for reason in made.skipped.values()] == ["syn-anti chain, anti chain"]


def test_given_geometries_stand_for_their_own_rotamers_alone(tmp_path: Path) -> None:
    folder = put_geometries(tmp_path / "qm", make_chain("arc", 2), make_chain("arc", 3))
    made = planned(lengths=[3], geometry=folder, rotamer=["default", "cis-N, cis-C"])
    assert {cell.rotamer for cell in made.cell_tasks} == {"cis-N, trans-C"}
    reason = next(iter(made.skipped.values()))
    assert "in rotamers cis-N, cis-C (it has cis-N, trans-C)" in reason
    with pytest.raises(ReferenceSetError, match="in rotamers cis-N, cis-C"):
        planned(lengths=[3], geometry=folder, rotamer="cis-N, cis-C")


def test_a_plan_describes_itself() -> None:
    text = str(planned(lengths="2..5"))
    assert "4 cells,    4 minimisations,    42 single points (a loop over H-bonds: 100)" in text


def test_a_gpu_gets_larger_batches_of_models_with_a_gpu_code_path() -> None:
    fields = {"campaign": "test", "models": ["so3lr", "toy"], "patterns": ["arc", "linear"], "lengths": "2..12"}
    spec = HBondSpec.model_validate(fields)
    plans = {"cpu": make_plan(spec), "cuda": make_plan(spec, device="cuda:0")}
    assert set(plans["cpu"].tasks) == set(plans["cuda"].tasks)
    counts = {
        (model, device): sum(batch.model == model for batch in made.batches)
        for model in ("so3lr", "toy")
        for device, made in plans.items()
    }
    assert counts["so3lr", "cuda"] < counts["so3lr", "cpu"]
    assert counts["toy", "cuda"] == counts["toy", "cpu"]


@pytest.fixture
def undecided() -> HBondPlan:
    return planned(patterns=["linear"], lengths=[2, 4], rotamer="lowest")


def test_cells_whose_rotamers_are_chosen_by_energy_wait_for_every_candidate(undecided: HBondPlan) -> None:
    assert not undecided.cell_tasks
    dimer, tetramer = undecided.cells
    assert [len(undecided.undecided[cell]) for cell in (dimer, tetramer)] == [16, 2 * 16 + 2 * 64]
    assert all(undecided.tasks[key].kind == "candidate" for key in undecided.undecided[tetramer])
    chosen = {
        ("toy", "torsions", tetramer.chain.conformers): tuple(ROTAMERS),
        ("toy", "torsions", dimer.chain.conformers): None,
    }
    decided = make_plan(undecided.spec, chosen)
    assert not decided.undecided
    (cell,) = decided.cell_tasks
    assert cell.chain.rotamers == tuple(ROTAMERS)
    assert cell.rotamer == "lowest"
    assert "no rotamers" in decided.skipped[decided.cells[0]]


def _candidate_results(made: HBondPlan, status: Status = "done") -> dict[str, TaskResult[Any]]:
    """Candidates whose energy is lowest in the rotamers of `ROTAMERS`, in turn."""
    results = {}
    for key in dict.fromkeys(key for keys in made.undecided.values() for key in keys):
        energy = float(sum(ROTAMERS.index(rotamer) for rotamer in made.tasks[key].chain.rotamers))
        results[key] = TaskResult(key, status, payload=CandidateResult(np.zeros(1), -energy, 1, None))
    return results


def test_rotamers_are_chosen_when_every_candidate_has_a_result(undecided: HBondPlan) -> None:
    dimer, tetramer = undecided.cells
    results = _candidate_results(undecided)
    chosen = choose_rotamers(undecided, results.get)
    assert chosen["toy", "torsions", tetramer.chain.conformers] == (ROTAMERS[-1],) * 4
    # one candidate of the tetramer alone has no result: the dimer is decided, the tetramer is not
    (only, *_) = set(undecided.undecided[tetramer]) - set(undecided.undecided[dimer])
    del results[only]
    assert set(choose_rotamers(undecided, results.get)) == {("toy", "torsions", dimer.chain.conformers)}


def test_a_candidate_without_a_minimum_is_no_choice(undecided: HBondPlan) -> None:
    results = _candidate_results(undecided)
    for key in undecided.undecided[undecided.cells[1]]:
        if ROTAMERS[-1] in undecided.tasks[key].chain.rotamers:
            results[key] = replace(results[key], status="broken-geometry")
    chosen = choose_rotamers(undecided, results.get)
    assert chosen["toy", "torsions", undecided.cells[1].chain.conformers] == (ROTAMERS[-2],) * 4
    broken = _candidate_results(undecided, "unconverged")
    assert set(choose_rotamers(undecided, broken.get).values()) == {None}
