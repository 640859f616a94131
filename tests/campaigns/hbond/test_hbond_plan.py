"""Plans: every shared task once, edges in order, batches that fit, nothing silent."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hbcoop_dist.campaigns.hbond.plan_summary import single_points

from hbcoop_dist import plan
from hbcoop_dist.campaigns.hbond.plan import BATCH_ATOMS, Plan
from hbcoop_dist.campaigns.hbond.rotamer_search import ROTAMERS
from hbcoop_dist.campaigns.hbond.spec import CampaignSpec
from hbcoop_dist.core.tasks import PROTOCOL_VERSION
from hbcoop_dist.models import ModelError, registry
from hbcoop_dist.references import ReferenceSetError
from hbcoop_dist.structures import make_chain
from hbcoop_dist.structures.construction import build


def draw(**fields: Any) -> Plan:
    return plan(CampaignSpec.model_validate({"campaign": "test", "models": ["toy"], **fields}))


@pytest.mark.parametrize(("length", "points"), [(2, 3), (3, 3 + 7), (4, 3 + 13), (6, 3 + 23)])
def test_distinct_single_points_of_one_chain(length: int, points: int) -> None:
    """The chain's own (design: 3, 7, 13, 4 n - 1) and the three of the isolated syn dimer."""
    assert single_points(draw(lengths=[length])) == {"toy": points}


def test_shared_tasks_are_there_once() -> None:
    """Arc and linear share the syn dimer, and at n = 2 the whole cell; every length shares monomer and dimers."""
    drawn = draw(lengths=[2, 3], patterns=["arc", "linear"])
    kinds = [task.kind for task in drawn.tasks.values()]
    assert len(drawn.cells) == 4
    assert kinds.count("monomer") == 1
    assert kinds.count("minimise") == 4  # syn dimer, anti dimer, arc trimer, linear trimer
    assert kinds.count("energies") == 4


def test_inputs_come_first_and_every_task_is_in_one_batch() -> None:
    drawn = draw(lengths="2..8", patterns=["arc", "linear"], capping=["none", "water"])
    seen: set[str] = set()
    for batch in drawn.batches:
        assert set(batch.inputs) <= seen
        keys = [task.key for task in batch.tasks]
        assert not seen & set(keys)
        seen.update(keys)
        minimised = [task.system.n_atoms for task in batch.tasks if task.kind == "minimise"]
        assert sum(minimised) <= BATCH_ATOMS["cpu"]
    assert seen == set(drawn.tasks)


def test_a_result_does_not_depend_on_what_else_is_asked_for() -> None:
    alone, many = draw(lengths=[5]), draw(lengths="2..8", patterns=["arc", "linear"])
    assert set(alone.tasks) < set(many.tasks)
    for key, task in alone.tasks.items():
        assert task == many.tasks[key]


def test_a_key_is_the_hash_of_the_documented_content() -> None:
    """CONTRIBUTING and design, section 4: checkpoint, float type, options, protocol and structure; nothing else."""
    drawn = draw(lengths=[2], minimize={"max_force": 1e-4})
    model = {
        "family": "toy",
        "checkpoint": drawn.sources["toy"].identity,
        "dtype": "float64",
        "options": {"method": "toy version 1", "strength": str(registry.card("toy").options["strength"])},
    }
    minimize = {"max_force": 1e-4, "rms_force": None, "constraint": "mirror", "optimiser": "tree"}
    system = {"conformers": ["syn"], "rotamers": ["cis-N, trans-C"] * 2, "capping": "none"}
    minimised = {
        "version": PROTOCOL_VERSION,
        "kind": "minimise",
        "model": model,
        "minimize": minimize,
        "system": system,
    }

    def key(content: dict[str, Any]) -> str:
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    energies = {
        "version": PROTOCOL_VERSION,
        "kind": "energies",
        "model": model,
        "geometry": key(minimised),
        "fragments": None,
    }
    (parts,) = {tasks.complex for tasks in drawn.cell_tasks.values()}
    assert (parts.minimise, parts.energies) == (key(minimised), (key(energies),))


def test_models_share_everything_but_their_keys() -> None:
    """Thousands of checkpoints ask for the same systems: one object each."""
    drawn = draw(models=["toy", "toy-additive"], lengths="2..8", patterns=["arc", "linear"], capping=["none", "water"])
    one, other = ([t for t in drawn.tasks.values() if t.model == model] for model in ("toy", "toy-additive"))
    for a, b in zip(one, other, strict=True):
        assert a.system is b.system
        assert a.key != b.key
        assert all(x[1] is y[1] for x, y in zip(a.seeds, b.seeds, strict=True))
    cells = [[c for c in drawn.cells if c.model == model] for model in ("toy", "toy-additive")]
    assert all(a.system is b.system for a, b in zip(*cells, strict=True))


def test_two_names_of_one_model_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = {name: registry.card("toy").with_fields(name=name) for name in ("toy", "toy-additive")}
    monkeypatch.setattr(registry, "card", toys.__getitem__)
    drawn = draw(models=["toy", "toy-additive"], lengths=[2, 3])
    assert {task.model for task in drawn.tasks.values()} == {"toy"}
    assert {batch.model for batch in drawn.batches} == {"toy"}
    assert len(drawn.cell_tasks) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"minimize": {"max_force": 1e-4}},
        {"minimize": {"constraint": "torsions"}},
        {"rotamer": "cis-N, cis-C"},
        {"models": ["toy-additive"]},
        {"capping": ["water"]},
    ],
)
def test_whatever_decides_a_result_changes_its_key(change: dict[str, Any]) -> None:
    before = draw(lengths=[3])
    after = draw(**{"lengths": [3], **change})
    minimised = [{t.key for t in p.tasks.values() if t.system.length == 3} for p in (before, after)]
    assert not minimised[0] & minimised[1]


def test_a_model_that_cannot_run_is_skipped_with_its_reason(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("HBCOOP_CHECKPOINTS", str(tmp_path))
    monkeypatch.setenv("HBCOOP_CACHE", str(tmp_path / "cache"))
    drawn = draw(models=["toy", "ani-2x"], lengths=[2, 3])
    assert {cell.model for cell in drawn.skipped} == {"ani-2x"}
    assert len(drawn.cell_tasks) == 2
    reason = next(iter(drawn.skipped.values()))
    assert "expected checkpoint ani-2x_8x, found none" in reason
    assert str(tmp_path) in reason
    assert "2 cells skipped: model ani-2x: expected checkpoint" in str(drawn)


def test_a_checkpoint_whose_package_is_not_here_is_skipped_and_one_that_is_not_there_is_bad_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    (tmp_path / "mine.model").write_bytes(b"weights")
    mine = {"name": "mine", "family": "mace", "checkpoint": str(tmp_path / "mine.model"), "trust": True}
    elsewhere = registry.card("mace-off23-small").with_fields(modules=("no_such_package",), environment="other")
    monkeypatch.setattr(registry, "custom_card", lambda *a, **k: elsewhere.with_fields(name="mine", trusted=True))
    drawn = draw(models=["toy", mine], lengths=[2])
    assert {cell.model for cell in drawn.skipped} == {"mine"}
    assert "make environment-other" in next(iter(drawn.skipped.values()))
    gone = {**mine, "checkpoint": str(tmp_path / "gone.model")}
    with pytest.raises(ModelError, match="gone"):
        plan(CampaignSpec.model_validate({"campaign": "x", "models": [gone], "lengths": [2]}), elsewhere={"other"})


def test_a_slow_model_gets_one_task_per_fragment(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = registry.card("toy").with_fields(single_point_cost="minutes")
    monkeypatch.setattr(registry, "card", lambda name: slow)
    drawn = draw(lengths=[3])
    energies = [task for task in drawn.tasks.values() if task.kind == "energies"]
    assert len(energies) == 7 + 3
    assert all(task.fragments is not None and len(task.fragments) == 1 for task in energies)
    assert all(len(batch.tasks) == 1 for batch in drawn.batches)


def test_given_geometries_need_no_minimisation(tmp_path) -> None:
    for name, system in (("a", make_chain("arc", 2)), ("b", make_chain("arc", 3))):
        build(system).to_ase().write(tmp_path / f"{name}.xyz", format="xyz")
    drawn = draw(lengths=[2, 3], patterns=["arc", "linear"], geometry=str(tmp_path))
    assert {task.kind for task in drawn.tasks.values()} == {"energies"}
    assert len(drawn.tasks) == 2
    assert [str(reason).split("has no ")[1] for reason in drawn.skipped.values()] == ["syn-anti chain, anti chain"]


def test_given_geometries_in_other_rotamers_are_not_passed_off(tmp_path) -> None:
    for name, system in (("a", make_chain("arc", 2)), ("b", make_chain("arc", 3))):
        build(system).to_ase().write(tmp_path / f"{name}.xyz", format="xyz")
    drawn = draw(lengths=[3], geometry=str(tmp_path), rotamer=["default", "cis-N, cis-C"])
    assert {cell.rotamer for cell in drawn.cell_tasks} == {"cis-N, trans-C"}
    reason = next(iter(drawn.skipped.values()))
    assert "in rotamers cis-N, cis-C (it has cis-N, trans-C)" in reason
    with pytest.raises(ReferenceSetError, match="in rotamers cis-N, cis-C"):
        draw(lengths=[3], geometry=str(tmp_path), rotamer="cis-N, cis-C")


def test_the_plan_says_what_would_run() -> None:
    text = str(draw(lengths="2..5"))
    assert "4 cells,    4 minimisations,    42 single points (a loop over H-bonds: 100)" in text


def test_a_gpu_is_given_more_at_a_time_and_computes_the_same() -> None:
    """Only families that have a GPU path; keys do not know the device."""
    fields = {"campaign": "test", "models": ["so3lr", "toy"], "patterns": ["arc", "linear"], "lengths": "2..12"}
    spec = CampaignSpec.model_validate(fields)
    cpu, cuda = plan(spec), plan(spec, device="cuda:0")
    assert set(cpu.tasks) == set(cuda.tasks)
    batches = {
        (name, drawn): sum(batch.model == name for batch in drawn_plan.batches)
        for name in ("so3lr", "toy")
        for drawn, drawn_plan in (("cpu", cpu), ("cuda", cuda))
    }
    assert batches["so3lr", "cuda"] < batches["so3lr", "cpu"]
    assert batches["toy", "cuda"] == batches["toy", "cpu"]


def test_cells_whose_rotamers_are_chosen_by_energy_wait_for_every_candidate() -> None:
    spec = CampaignSpec.model_validate(
        {"campaign": "test", "models": ["toy"], "patterns": ["linear"], "lengths": [2, 4], "rotamer": "lowest"}
    )
    drawn = plan(spec)
    assert not drawn.cell_tasks
    dimer, tetramer = drawn.cells
    assert [len(drawn.questions[cell]) for cell in (dimer, tetramer)] == [16, 2 * 16 + 2 * 64]
    assert all(drawn.tasks[key].kind == "candidate" for key in drawn.questions[tetramer])
    chosen = {("toy", tetramer.system.conformers): tuple(ROTAMERS), ("toy", dimer.system.conformers): None}
    again = plan(spec, chosen)
    assert not again.questions
    (cell,) = again.cell_tasks
    assert cell.system.rotamers == tuple(ROTAMERS)
    assert cell.labels["rotamer"] == "lowest"
    assert "no rotamers" in again.skipped[again.cells[0]]
