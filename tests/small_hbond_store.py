"""A small store of two test potentials, one of them an ensemble, computed once per session."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from toy_ensemble import ToyEnsemble

import hbcoop_dist as hb
from hbcoop_dist.campaigns import model_worker
from hbcoop_dist.campaigns.hbond.spec import HBondSpec
from hbcoop_dist.models import load

SPEC = {
    "campaign": "small",
    "models": ["toy", "toy-additive"],
    "patterns": ["arc", "linear"],
    "lengths": [2, 3, 4, 5, 6],
    "capping": ["none", {"name": "water", "lengths": [2]}],
    "geometry": ["own", "nma-so3lr"],
}


@cache
def small_hbond_store(folder: Path) -> Path:
    """Path of the store, in a folder that lasts for the session."""
    path = folder / "small-hbond.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            model_worker, "load_potential", lambda card, *_: ToyEnsemble() if card.name == "toy" else load(card)
        )
        hb.run(hb.plan(HBondSpec.model_validate(SPEC)), path, serial=True)
    return path
