"""The numbers of the design's table (section 2): arc, mirror plane, own geometry, kcal/mol.

They come from a prototype with another optimiser, so 0.03 kcal/mol is the test; the capped dimer is the paper's
arrangement with GFN2-xTB.
"""

from __future__ import annotations

import numpy as np
import pytest

from hbcoop_dist.models import registry

CIS_C, TRANS_C = "cis-N, cis-C", "cis-N, trans-C"
WITHIN = 0.03

# model, rotamer: V_AB, O..N of the dimer, (lowest, highest) terminal at n = 3 and 4, middle at n = 4
TABLE = {
    ("ani-2x", CIS_C): (-10.39, 2.954, (0.21, 0.23), (0.21, 0.22), 0.43),
    ("ani-2x", TRANS_C): (-9.92, 2.967, (0.54, 0.54), (0.54, 0.54), 1.09),
    ("ani-1ccx", CIS_C): (-6.30, 3.019, (0.07, 0.07), (0.07, 0.07), 0.14),
    ("ani-1ccx", TRANS_C): (-7.76, 2.978, (0.16, 0.18), (0.15, 0.17), 0.33),
    ("so3lr", CIS_C): (-7.28, 2.972, (1.44, 1.45), (1.78, 1.82), 3.19),
    ("so3lr", TRANS_C): (-7.66, 2.976, (1.61, 1.62), (1.98, 2.00), 3.54),
    ("gfn2-xtb", CIS_C): (-7.29, 2.950, (0.87, 0.88), (1.09, 1.13), 1.91),
}


@pytest.mark.parametrize(("model", "rotamer"), TABLE)
def test_prototype_numbers(compute, model: str, rotamer: str) -> None:
    if not (here := registry.available(registry.card(model))):
        pytest.skip(here.reason)
    _, _, records = compute(models=[model], patterns=["arc"], lengths=[2, 3, 4], rotamer=rotamer, constraint="mirror")
    by_length = {record.labels["length"]: record for record in records}
    assert {record.status for record in records} == {"done"}
    v_ab, distance, terminal3, terminal4, middle4 = TABLE[model, rotamer]
    dimer = by_length[2].values
    assert dimer["interaction_energy_dimer"][0] == pytest.approx(v_ab, abs=WITHIN)
    assert dimer["distance_on"][0] == pytest.approx(distance, abs=0.005)
    for length, (low, high) in ((3, terminal3), (4, terminal4)):
        head, _, tail = by_length[length].values["cooperative_energy"]
        assert min(head, tail) == pytest.approx(low, abs=WITHIN)
        assert max(head, tail) == pytest.approx(high, abs=WITHIN)
    assert by_length[4].values["cooperative_energy"][1] == pytest.approx(middle4, abs=WITHIN)


def test_capped_dimer_with_gfn2(compute) -> None:
    """2.29 with the third water donating to the other two (design); the paper's MP2 says 2.5."""
    _, _, records = compute(models=["gfn2-xtb"], lengths=[2], capping=["water"], constraint="mirror")
    assert records[0].status == "done"
    assert records[0].values["cooperative_energy"][0] == pytest.approx(2.29, abs=0.05)


def test_so3lr_grows_with_the_chain_and_amber_has_no_electronic_part(compute) -> None:
    _, _, records = compute(models=["so3lr", "amber14"], lengths=[4, 5])
    value = {(r.labels["model"], r.labels["length"]): r.values for r in records}
    assert value["so3lr", 5]["cooperative_energy"][1] > value["so3lr", 4]["cooperative_energy"][1] + 0.1
    for length in (4, 5):
        assert np.abs(value["amber14", length]["hbond_cooperative_energy_electronic"]).max() < 1e-9


def test_atomic_terms_of_every_hbond_sum_to_the_cooperative_energy(compute) -> None:
    _, _, records = compute(models=["so3lr", "amber14"], lengths=[4, 5])
    for record in records:
        if record.labels["model"] == "so3lr":
            sums = record.values["atomic_cooperative_energy"].sum(axis=1)
            assert sums == pytest.approx(record.values["hbond_cooperative_energy"], abs=1e-8)


@pytest.mark.slow
def test_linear_chains_converge_bare_and_capped(compute) -> None:
    """Both patterns, to 1e-5 eV/A, n = 2..6; the linear pattern in the default rotamer is a saddle (design)."""
    _, _, records = compute(
        models=["so3lr"], patterns=["arc", "linear"], lengths="2..6", capping=["none", "water"], constraint="mirror"
    )
    assert len(records) == 20
    for record in records:
        assert (record.status, record.reason) == ("done", ""), record.labels
        assert record.values["max_force"] < 1e-5
        assert record.values["planarity"] < 1e-9
