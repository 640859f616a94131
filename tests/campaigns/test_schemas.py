"""Schemas of the built-in campaign kinds: complete, consistent, and right about what follows from labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from hbcoop_dist.campaigns.complexes.schema import COMPLEXES_SCHEMA
from hbcoop_dist.campaigns.generalization.schema import GENERALIZATION_SCHEMA
from hbcoop_dist.campaigns.hbond.schema import HBOND_SCHEMA
from hbcoop_dist.store import Layout, Schema
from hbcoop_dist.structures import make_chain, monomer
from hbcoop_dist.structures.chains import PATTERNS, Capping

SCHEMAS = (HBOND_SCHEMA, COMPLEXES_SCHEMA, GENERALIZATION_SCHEMA)
CHAINS = {
    "model": ("toy",),
    "pattern": PATTERNS,
    "geometry": ("own",),
    "rotamer": ("default",),
    "constraint": ("mirror",),
}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.kind)
def test_numbers_have_units_and_every_variable_a_meaning(schema: Schema) -> None:
    for variable in schema.variables.values():
        assert variable.long_name
        assert bool(variable.units) == (variable.dtype in ("float64", "float32", "int64")), variable.name
    for table in schema.tables:
        names = {variable.name for variable in table.variables}
        assert {table.status, table.reason, table.key, table.versions, *table.required} - {""} <= names
    assert set(schema.definitions) <= {variable.name for variable in schema.static}


def test_static_values_of_chains() -> None:
    layout = Layout(HBOND_SCHEMA, {**CHAINS, "length": (2, 3, 6), "capping": ("none", "water")})
    values = HBOND_SCHEMA.static_values(layout)
    assert set(values) == {variable.name for variable in HBOND_SCHEMA.static}
    assert values["hbond_conformer"].tolist() == [["syn"] * 5, ["syn", "anti", "syn", "anti", "syn"]]
    assert values["position_hbond"].tolist() == [[1, 1, 1], [1, 1, 2], [1, 3, 5]]
    assert values["units_before"].tolist() == [[0, 0, 0], [0, 0, 1], [0, 2, 4]]
    assert values["units_after"].tolist() == [[0, 0, 0], [1, 1, 0], [4, 2, 0]]
    assert values["position_conformer"][1].tolist() == [["syn"] * 3, ["syn", "syn", "anti"], ["syn"] * 3]


def test_static_atoms_agree_with_the_structures() -> None:
    lengths, cappings = (2, 3), ("none", "water")
    layout = Layout(HBOND_SCHEMA, {**CHAINS, "length": lengths, "capping": cappings})
    values = HBOND_SCHEMA.static_values(layout)
    for i, length in enumerate(lengths):
        for c, capping in enumerate[Capping](("none", "water")):
            chain = make_chain("arc", length, capping)
            numbers, molecules = values["atomic_number"][i, c], values["molecule"][i, c]
            labels = {"length": length, "capping": capping}
            assert (numbers > 0).sum() == (molecules >= 0).sum() == chain.n_atoms == layout.extent("atom", labels)
            assert molecules.max() == chain.length - 1 + (4 if chain.capping == "water" else 0)
            assert numbers[:12].tolist() == monomer().numbers.tolist()
            assert (numbers[chain.n_atoms :] == -1).all()
            assert (molecules[chain.n_atoms :] == -1).all()
    assert values["atomic_number"][0, 1, 24:36].tolist() == [8, 1, 1] * 4


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.kind)
def test_the_data_dictionary_lists_every_variable_with_its_units(schema: Schema) -> None:
    dictionary = (Path(__file__).resolve().parents[2] / "store" / "README.md").read_text(encoding="utf-8")
    section = dictionary.partition(f"## Stores of kind `{schema.kind}`\n")[2].partition("\n## ")[0]
    rows = {cells[1].strip(" `"): cells for line in section.splitlines() if len(cells := line.split("|")) > 4}
    assert set(schema.axis) | set(schema.variables) <= set(rows)
    for variable in schema.variables.values():
        assert rows[variable.name][4].strip() == variable.units, variable.name
        assert rows[variable.name][5].strip() == variable.long_name, variable.name
