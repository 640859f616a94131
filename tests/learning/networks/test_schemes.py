"""The contract suite of schemes on all built-in schemes and variants of their options."""

from __future__ import annotations

import pytest

from hbcoop_dist.learning.networks.registry import SCHEMES
from hbcoop_dist.testing.schemes import *  # noqa: F403
from hbcoop_dist.testing.schemes import SchemeCase

CASES = [
    SchemeCase("none"),
    SchemeCase("charge-embedding"),
    SchemeCase("les"),
    SchemeCase("les", {"self_energy": True, "sigma": 0.7}),
    SchemeCase("les", {"charge_sum": "constrained", "hidden": 5}),
    SchemeCase("les", {"charge_sum": "constrained", "charge_constraint": "fragment"}),
    SchemeCase("celli"),
    SchemeCase("celli", {"charge_constraint": "fragment"}),
    SchemeCase("celli", {"layer": 1, "embed_charges": False, "hidden": 3}),
    SchemeCase("efa", rotation=1e-2),
    SchemeCase("efa", {"layers": [0], "frequencies": 3, "values": 4}, rotation=1e-2),
    SchemeCase("efa", {"tolerance": 1e-8}, rotation=1e-7),
    SchemeCase("efa", {"tolerance": 1e-12}, rotation=1e-10),
]


@pytest.fixture(params=CASES, ids=str)
def scheme_case(request: pytest.FixtureRequest) -> SchemeCase:
    return request.param


def test_every_built_in_scheme_is_tested() -> None:
    assert {case.name for case in CASES} == set(SCHEMES)
