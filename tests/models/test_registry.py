"""Models are found by name, other distributions add theirs, and nothing heavy is imported on the way."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hbcoop_dist.models import ModelError, available, broken_families, card, cards, custom_card, load, registry
from hbcoop_dist.structures import monomer

FAMILY = """
from hbcoop_dist.models import toy
from hbcoop_dist.models.base import ModelCard
from dataclasses import replace

CARDS = (replace(toy.CARDS[0], name="{name}", family="{family}"),)
load = toy.load
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Put a distribution with one entry point and one module onto the path, as pip would."""

    def add(family: str, source: str) -> None:
        info = tmp_path / f"scratch_{family}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: scratch-{family}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[hbcoop_dist.models]\n{family} = scratch_{family}\n")
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


def test_every_card_is_complete() -> None:
    for name, found in cards().items():
        assert found.name == name
        assert found.elements
        assert found.packages
        assert found.level_of_theory
        assert found.licence
        assert found.citation
        assert found.dtype == "float64" or found.dtype_reason
        # Orb's are published without a hash; they are state dicts, which run no code
        assert found.checkpoint is None or found.sha256 or (found.family == "orb" and not found.pickled)


def test_misspelt_model_names_its_neighbours() -> None:
    with pytest.raises(ModelError, match=r"'ani2x' is not known; near: ani-2x"):
        card("ani2x")


def test_hopelessly_misspelt_model_lists_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"known: .*so3lr"):
        card("zzzzzzzz")


def test_missing_package_is_a_reason_not_a_crash() -> None:
    state = available(replace(card("so3lr"), requires=("torch", "no_such_package_at_all")))
    assert not state
    assert "no_such_package_at_all" in state.reason
    with pytest.raises(ModelError, match=r"cannot run here: needs no_such_package_at_all"):
        load(replace(card("toy"), requires=("no_such_package_at_all",)))


def test_another_distribution_adds_a_model(install: Callable[[str, str], None]) -> None:
    install("mine", FAMILY.format(name="mine-large", family="mine"))
    assert available(card("mine-large"))
    assert load("mine-large").evaluate([monomer()])[0].energy == load("toy").evaluate([monomer()])[0].energy


def test_broken_distribution_is_reported_and_disturbs_nobody(install: Callable[[str, str], None]) -> None:
    install("sick", "raise RuntimeError('no CUDA for you')")
    assert "no CUDA for you" in broken_families()["sick"]
    assert load("toy").evaluate([monomer()])
    with pytest.raises(ModelError, match=r"unavailable: entry point sick = scratch_sick: RuntimeError: no CUDA"):
        card("sick-large")
    state = available(replace(card("toy"), family="sick"))
    assert not state
    assert "no CUDA for you" in state.reason


def test_a_module_that_gives_up_does_not_end_everybody_s_program(install: Callable[[str, str], None]) -> None:
    install("quitter", "raise SystemExit('needs a licence')")
    assert broken_families()["quitter"] == "entry point quitter = scratch_quitter: SystemExit: needs a licence"
    assert load("toy").evaluate([monomer()])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (FAMILY.format(name="toy", family="other"), "models toy exist already"),
        (FAMILY.format(name="x", family="stranger"), "found family stranger"),
        ("CARDS = []", "expected CARDS, a tuple of ModelCard, found list"),
        ("CARDS = ()", "expected a function load, found none"),
    ],
)
def test_malformed_family_is_reported(install: Callable[[str, str], None], source: str, reason: str) -> None:
    install("other", source)
    assert reason in broken_families()["other"]
    assert card("toy").family == "toy"


def test_custom_card_takes_family_settings_but_claims_nothing_about_the_file() -> None:
    mine = custom_card("my-ani", "ani", "/somewhere/retrained_8x", {"elements": (1, 6, 7, 8)})
    assert (mine.name, mine.family, mine.checkpoint, mine.sha256) == ("my-ani", "ani", "retrained_8x", None)
    assert mine.elements == (1, 6, 7, 8)
    assert mine.cutoff == card("ani-2x").about.cutoff
    assert "user-supplied" in mine.level_of_theory
    assert "unknown" in mine.licence


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
