"""Sources: what identifies them, and when a model is skipped or refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hbcoop_dist.campaigns.model_tasks import model_text
from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import ModelError, ModelSource, PackageSource, card, custom_card, find_packages, find_source
from hbcoop_dist.models import registry as module

NEEDS = Requirements(modules=("numpy",), packages=("numpy", "dscribe"))


def packages(needs: Requirements = NEEDS, elsewhere: tuple[str, ...] = ()) -> PackageSource | str:
    return find_packages("soap", "Apache-2.0", "a paper", needs, elsewhere)


def identity(needs: Requirements = NEEDS, elsewhere: tuple[str, ...] = ()) -> str:
    source = packages(needs, elsewhere)
    assert isinstance(source, PackageSource)
    return source.identity


def test_another_version_of_a_package_is_another_source(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"numpy": "2.0", "dscribe": "2.1.0"}
    monkeypatch.setattr(module, "version", versions.__getitem__)
    before = identity()
    assert identity() == before
    versions["dscribe"] = "2.1.1"
    assert identity() != before
    versions["dscribe"] = "2.1.0"
    assert identity() == before


def test_versions_of_another_python_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = Requirements(("no_such_package",), ("numpy",), environment="other")
    before = identity(elsewhere, ("other",))
    monkeypatch.setattr(module, "version", lambda name: "0")
    assert identity(elsewhere, ("other",)) == before


def test_missing_packages_are_a_reason() -> None:
    reason = packages(Requirements(("no_such_package",), environment="other"))
    assert isinstance(reason, str)
    assert "needs no_such_package, not installed here" in reason
    assert "environments/other.txt" in reason


def test_a_model_without_its_package_is_skipped_and_elsewhere_it_is_not() -> None:
    toy = card("toy").with_fields(modules=("no_such_package",), environment="other")
    assert "no_such_package" in str(find_source(toy))
    source = find_source(toy, elsewhere=("other",))
    assert isinstance(source, ModelSource)
    assert not source.here
    assert source.identity == find_source(card("toy")).identity  # type: ignore[union-attr]
    assert (source.name, source.licence, source.citation) == ("toy", toy.about.licence, toy.about.citation)
    assert source.needs == toy.needs


def test_a_user_s_checkpoint_that_is_missing_is_an_error(tmp_path: Path) -> None:
    absent = tmp_path / "absent.model"
    mine = custom_card("mine", "so3lr", absent)
    with pytest.raises(ModelError, match=r"expected its checkpoint at .*absent\.model, found none"):
        find_source(mine, absent)
    assert "not installed here" in str(find_source(mine.with_fields(modules=("no_such_package",)), absent))


@pytest.mark.parametrize("change", [{"family": "other"}, {"dtype": "float32"}, {"options": {"method": "other"}}])
def test_what_decides_a_result_is_in_its_key(change: dict[str, object]) -> None:
    toy = card("toy")
    assert model_text(ModelSource(toy.with_fields(**change), "0")) != model_text(ModelSource(toy, "0"))
    assert model_text(ModelSource(toy, "1")) != model_text(ModelSource(toy, "0"))


def test_names_and_descriptions_are_not_in_the_key() -> None:
    toy = card("toy")
    other = toy.with_fields(
        name="other", licence="none", citation="none", level_of_theory="none", combination={"a": 1.0}
    )
    assert model_text(ModelSource(other, "0")) == model_text(ModelSource(toy, "0"))


def test_the_public_module_needs_no_torch() -> None:
    import subprocess

    # schemes are torch modules, everything else is read by planners too
    program = (
        "import sys, hbcoop_dist.plugin as plugin\n"
        "schemes = {'AtomBatch', 'LongRange', 'Memory', 'Scheme'}\n"
        "assert schemes < set(plugin.__all__)\n"
        "assert all(getattr(plugin, name) is not None for name in plugin.__all__ if name not in schemes)\n"
        "assert 'torch' not in sys.modules\n"
        "assert all(getattr(plugin, name) is not None for name in schemes)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
