"""Every kind of campaign keeps the contract: the three of the package, and a tiny one that is a plug-in."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.io import write

from hbcoop_dist.campaigns.kind import AnyPlan, find_kind, refresh_kinds
from hbcoop_dist.testing.kinds import KindContract

TINY = Path(__file__).with_name("tiny")


def put(folder: Path, **fields: Any) -> Path:
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump({"campaign": "contract", **fields}))
    return path


class TestHBond(KindContract):
    name = "hbond"

    def write_campaign(self, folder: Path, partitions: int = 1) -> Path:
        models = ["toy", "toy-additive"][:partitions]
        return put(folder, models=models, lengths=[2, 3], patterns=["arc", "linear"], capping=["none", "water"])

    def change_source(self, made: AnyPlan, folder: Path) -> AnyPlan:
        return with_identity(made, "0" * 64)


class TestComplexes(KindContract):
    name = "complexes"

    def write_campaign(self, folder: Path, partitions: int = 1) -> Path:
        from hbcoop_dist.structures import make_chain
        from hbcoop_dist.structures.monomers import build

        write(folder / "trimer.xyz", build(make_chain("arc", 3)).to_ase(), format="xyz")
        complexes = [
            {"file": "trimer.xyz", "A": "0-11", "B": ["12-23"], "name": "fixed"},
            {"file": "trimer.xyz", "A": "12-23", "B": ["24-35"], "name": "other pair"},
        ]
        models = [
            {"name": name, "calculator": "ase.calculators.lj:LennardJones", "kwargs": {"sigma": sigma, "rc": 50.0}}
            for name, sigma in (("pairs", 2.0), ("larger", 2.2))
        ]
        return put(folder, kind="complexes", models=models[:partitions], complexes=complexes)

    def change_source(self, made: AnyPlan, folder: Path) -> AnyPlan:
        return with_identity(made, "0" * 64)


@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("dscribe", "umap", "mace")), reason="needs dscribe, umap and mace"
)
class TestGeneralization(KindContract):
    name = "generalization"

    def write_campaign(self, folder: Path, partitions: int = 1) -> Path:
        datasets = [
            {"name": "ions", "generate": "ionic", "size": 16, "molecules": [1, 2, 2]},
            {"name": "neutral", "generate": "neutral", "size": 16, "molecules": [1, 2]},
        ]
        return put(
            folder,
            kind="generalization",
            datasets=datasets[:partitions],
            splits=["random"],
            architectures={"name": "mace", "channels": 4, "max_ell": 1, "hidden_ell": 0},
            schemes=["none", "les"],
            training={"steps": 4, "batch_size": 4, "validate_every": 2},
        )


class TestPowers(KindContract):
    """The tiny kind is a distribution of its own: a module, and an entry point in its metadata."""

    name = "powers"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def installed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = tmp_path_factory.mktemp("site")
        (folder / "tiny_kind.py").write_text((TINY / "tiny_kind.py").read_text())
        info = folder / "tiny_kind-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-kind\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text("[hbcoop_dist.campaign_kinds]\npowers = tiny_kind:KIND\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(str(folder))
            paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
            patch.setenv("PYTHONPATH", os.pathsep.join(paths))
            refresh_kinds()
            yield
        sys.modules.pop("tiny_kind", None)
        refresh_kinds()

    def write_campaign(self, folder: Path, partitions: int = 1) -> Path:
        return put(folder, kind="powers", bases=[2, 3][:partitions], exponents=[1, 2, 5])

    def change_source(self, made: AnyPlan, folder: Path) -> AnyPlan:
        from tiny_kind import Multiplication, make_plan

        return make_plan(made.spec, Multiplication(identity="2"))


def with_identity(made: AnyPlan, identity: str) -> AnyPlan:
    """Plan the same campaign with other checkpoints: every source has another hash."""
    from hbcoop_dist.models import registry

    with pytest.MonkeyPatch.context() as patch:
        real = registry.find_source
        for module in [module for module in list(sys.modules.values()) if getattr(module, "find_source", None) is real]:
            patch.setattr(module, "find_source", lambda *arguments: replace(real(*arguments), identity=identity))
        return find_kind(made.spec.kind).plan(made.spec)
