"""Models are found by name, other distributions add theirs, and nothing heavy is imported on the way."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hbcoop_dist.models import (
    CheckpointInfo,
    ModelError,
    available,
    broken_families,
    card,
    cards,
    custom_card,
    load,
    registry,
)
from hbcoop_dist.structures import monomer

FAMILY = """
from hbcoop_dist.models.families import toy
from hbcoop_dist.plugin import ModelFamily

class Mine(ModelFamily):
    cards = (toy.FAMILY.cards[0].with_fields(name="{name}", family="{family}"),)
    load = staticmethod(toy.FAMILY.load)

FAMILY = Mine()
"""
LISTED = "from hbcoop_dist.models.families import toy\nFAMILY = type(toy.FAMILY)()\nFAMILY.cards = []"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Put a distribution with one entry point and one module onto the path, as pip would."""

    def add(family: str, source: str) -> None:
        info = tmp_path / f"scratch_{family}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: scratch-{family}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hbcoop_dist.models]\n{family} = scratch_{family}:FAMILY\n")
        (tmp_path / f"scratch_{family}.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"scratch_{family}", raising=False)
        importlib.invalidate_caches()
        registry.refresh()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield add
    registry.refresh()


def test_importing_models_and_reading_cards_imports_nothing_heavy() -> None:
    program = (
        "import sys, hbcoop_dist.models as m\n"
        "states = [m.available(c) for c in m.cards().values()]\n"
        "heavy = {'torch', 'torchani', 'openmm', 'tblite', 'so3krates_torch', 'scipy'} & set(sys.modules)\n"
        "assert states and not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_pickled_checkpoints_have_a_hash() -> None:
    pickled = [card for card in cards().values() if card.checkpoint.pickled]
    assert pickled
    assert all(card.checkpoint.sha256 for card in pickled)


def test_every_family_of_the_package_is_registered() -> None:
    assert not broken_families()
    folder = Path(importlib.import_module("hbcoop_dist.models.families").__path__[0])
    modules = {path.stem for path in folder.glob("*.py") if "FAMILY = " in path.read_text()}
    assert {"ase_calculator" if name == "ase" else name for name in registry.family_names()} == {*modules, "trained"}


def test_misspelt_model_names_its_neighbours() -> None:
    with pytest.raises(ModelError, match=r"'ani2x' is not known; near: ani-2x"):
        card("ani2x")


def test_hopelessly_misspelt_model_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"known: .*so3lr"):
        card("zzzzzzzz")


def test_missing_package_is_a_reason_not_a_crash() -> None:
    state = available(card("so3lr").with_fields(modules=("torch", "no_such_package_at_all")))
    assert not state
    assert "no_such_package_at_all" in state.reason
    with pytest.raises(ModelError, match=r"cannot run here: needs no_such_package_at_all"):
        load(card("toy").with_fields(modules=("no_such_package_at_all",)))


def test_another_distribution_adds_a_model(install: Callable[[str, str], None]) -> None:
    install("mine", FAMILY.format(name="mine-large", family="mine"))
    assert available(card("mine-large"))
    assert load("mine-large").evaluate([monomer()])[0].energy == load("toy").evaluate([monomer()])[0].energy


def test_broken_distribution_is_reported_and_disturbs_nobody(install: Callable[[str, str], None]) -> None:
    install("sick", "raise RuntimeError('no CUDA for you')")
    assert "no CUDA for you" in broken_families()["sick"]
    assert load("toy").evaluate([monomer()])
    with pytest.raises(ModelError, match=r"unavailable: entry point sick = scratch_sick:FAMILY: RuntimeError: no CUDA"):
        card("sick-large")
    state = available(card("toy").with_fields(family="sick"))
    assert not state
    assert "no CUDA for you" in state.reason


def test_a_module_that_gives_up_does_not_end_everybody_s_program(install: Callable[[str, str], None]) -> None:
    install("quitter", "raise SystemExit('needs a licence')")
    assert broken_families()["quitter"] == "entry point quitter = scratch_quitter:FAMILY: SystemExit: needs a licence"
    assert load("toy").evaluate([monomer()])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (FAMILY.format(name="toy", family="other"), "expected new model names, found registered models toy"),
        (FAMILY.format(name="x", family="stranger"), "found family stranger"),
        (LISTED, "expected cards, a tuple of ModelCard, found list"),
        ("FAMILY = 1", "expected an instance of ModelFamily, found int"),
    ],
)
def test_malformed_family_is_reported(install: Callable[[str, str], None], source: str, reason: str) -> None:
    install("other", source)
    assert reason in broken_families()["other"]
    assert card("toy").family == "toy"


def test_custom_card_takes_family_settings_but_claims_nothing_about_the_file() -> None:
    mine = custom_card("my-ani", "ani", "/somewhere/retrained_8x", like="ani-1x")
    assert (mine.name, mine.family) == ("my-ani", "ani")
    assert mine.checkpoint == CheckpointInfo(file="retrained_8x")
    assert (mine.about.elements, mine.about.cutoff) == ((1, 6, 7, 8), 5.2)
    assert "user-supplied" in mine.about.level_of_theory
    assert "unknown" in mine.about.licence


def test_fields_of_a_card_are_changed_wherever_they_belong() -> None:
    toy = card("toy")
    changed = toy.with_fields(name="x", cutoff=4.0, smooth=False, gpu=True, sha256="0")
    assert (changed.name, changed.about.cutoff, changed.abilities.smooth) == ("x", 4.0, False)
    assert (changed.needs.gpu, changed.checkpoint.sha256) == (True, "0")
    assert changed.with_fields(name="toy", cutoff=None, smooth=True, gpu=False, sha256=None) == toy
    with pytest.raises(TypeError, match="colour"):
        toy.with_fields(colour="red")


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("so3lr", "so3lr", "belongs to a registered model"),
        ("mine", "anni", "family 'anni' is not known; near: ani"),
        ("mine", "xtb", "has its parameters built in"),
    ],
)
def test_custom_card_refuses(name: str, family: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        custom_card(name, family, "x.model")


def test_custom_so3lr_checkpoint_loads_and_a_foreign_pickle_does_not(tmp_path: Path) -> None:
    from hbcoop_dist.models import checkpoints

    shipped = checkpoints.embedded(card("so3lr"))
    assert shipped is not None
    mine = tmp_path / "mine.model"
    mine.write_bytes(shipped.path.read_bytes())
    copy = load(custom_card("my-so3lr", "so3lr", mine), mine)
    original = load("so3lr")
    assert copy.parameter_hash == original.parameter_hash
    assert copy.evaluate([monomer()])[0].energy == original.evaluate([monomer()])[0].energy

    import torch

    torch.save(Path("harmful"), mine)
    with pytest.raises(ModelError, match=r"my-so3lr: .* is not a readable SO3LR network"):
        load(custom_card("my-so3lr", "so3lr", mine), mine)
