"""A trained network in a file, tested against labels, and as a model of any campaign."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hbcoop_dist.learning.datasets.labelled_structures import isolated_molecules
from hbcoop_dist.learning.networks.atom_batches import NeutralAtoms
from hbcoop_dist.learning.networks.hyperparameters import Budget
from hbcoop_dist.learning.networks.network_module import Traits, network_of, predict, traits_of
from hbcoop_dist.learning.networks.registry import SCHEMES
from hbcoop_dist.learning.networks.trained_family import FAMILY
from hbcoop_dist.learning.networks.trained_files import (
    NetworkMetadata,
    Trained,
    TrainedFileError,
    read_metadata,
    read_trained,
    write_trained,
)
from hbcoop_dist.learning.training.evaluation import evaluate
from hbcoop_dist.learning.training.training_loop import train
from hbcoop_dist.models import ModelError, available, custom_card, load
from hbcoop_dist.models.checks.contract import check, probes
from hbcoop_dist.testing.learning_examples import SMALL, labelled_waters

ORGANIC = replace(SMALL, elements=(1, 6, 7, 8))


@functools.cache
def trained(scheme: str = "none") -> Trained:
    budget = Budget(steps=5, batch_size=4, validate_every=5)
    return train(
        replace(ORGANIC, scheme=scheme),
        labelled_waters(teacher="gfn2-xtb")[:18],
        labelled_waters(teacher="gfn2-xtb")[18:],
        budget,
    )


def about(scheme: str = "none") -> NetworkMetadata:
    return NetworkMetadata("GFN2-xTB", "none", "this test", **asdict(traits_of(network_of(trained(scheme)))))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_trained(tmp_path / "network.npz", trained(), about())
    return tmp_path / "network.npz"


def test_a_file_gives_back_what_was_written(path: Path) -> None:
    found, said = read_trained(path)
    assert found.spec == trained().spec
    assert found.budget == trained().budget
    assert found.parameter_hash == trained().parameter_hash
    assert traits_of(network_of(found)) == Traits(long_range=False, extensive=True, charges=False)
    assert_array_equal(found.curve.validation_loss, trained().curve.validation_loss)
    assert said == about()
    assert read_metadata(path) == (found.spec, said)
    before = path.read_bytes()
    write_trained(path, found, said)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_another_file_is_refused_by_name(tmp_path: Path, path: Path) -> None:
    np.savez(tmp_path / "other.npz", values=np.zeros(3))
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:500])
    for name in ("other.npz", "cut.npz", "none.npz"):
        with pytest.raises(TrainedFileError, match=f"{name}: expected a trained network, found none"):
            read_trained(tmp_path / name)
    with pytest.raises(ModelError, match=r"model mine: .*cut.npz: expected a trained network"):
        FAMILY.card_of("mine", tmp_path / "cut.npz")


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_it_keeps_the_contract_of_all_models(scheme: str, tmp_path: Path) -> None:
    write_trained(tmp_path / "network.npz", trained(scheme), about(scheme))
    card = custom_card("mine", "trained", tmp_path / "network.npz")
    failed = [one for one in check(load(card, tmp_path / "network.npz")) if not one.passed]
    assert not failed, "\n".join(map(str, failed))


def test_its_card_says_what_the_file_says(path: Path) -> None:
    card = custom_card("mine", "trained", path)
    assert (card.about.cutoff, card.about.layers, card.about.elements) == (3.5, 2, (1, 6, 7, 8))
    assert (card.about.long_range, card.abilities.extensive, card.abilities.charges, card.receptive_field) == (
        False,
        True,
        False,
        7.0,
    )
    assert card.about.level_of_theory == "GFN2-xTB"
    assert available(card, path)
    gone = custom_card("mine", "trained", path.with_name("gone.npz"))
    assert "found none" in available(gone, path.with_name("gone.npz")).reason
    with pytest.raises(ModelError, match="expected neither like nor options for family trained"):
        custom_card("mine", "trained", path, options={"head": "x"})


def test_a_card_needs_no_torch(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hbcoop_dist.learning.networks.trained_family import FAMILY;"
        f"FAMILY.card_of('mine', Path({str(path)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_model_is_the_network(path: Path) -> None:
    structures = list(probes().values())
    found = load(custom_card("mine", "trained", path), path).evaluate(structures, forces=False)
    energies = [one.energy for one in found]
    ours = predict(network_of(trained()), [NeutralAtoms(s.numbers, s.positions, s.molecules, (0,)) for s in structures])
    np.testing.assert_allclose(energies, [one.energy for one in ours], rtol=1e-14)


def test_errors_are_those_of_the_predictions() -> None:
    test = labelled_waters(teacher="gfn2-xtb")
    errors = evaluate(trained(), test)
    found = predict(network_of(trained()), test)
    per_atom = [1e3 * (one.energy - label.energy) / len(label) for one, label in zip(found, test, strict=True)]
    assert errors.all.count == len(test)
    assert errors.all.energy_rmse == pytest.approx(np.sqrt(np.mean(np.square(per_atom))))
    squares = sum(one.count * one.energy_rmse**2 for one in errors.by_domain.values())
    assert errors.all.energy_rmse**2 * len(test) == pytest.approx(squares)
    assert sum(one.count for one in errors.by_size.values()) == len(test)
    assert list(errors.by_size) == [3, 6, 9]
    assert list(errors.by_domain) == ["cluster", "molecule"]
    assert errors.near.count + errors.beyond.count == sum(one.interaction_energy is not None for one in test)


def test_a_network_without_long_range_sees_nothing_beyond_its_cutoff() -> None:
    """Its interaction energy there is zero, so its error is the reference's interaction energy itself."""
    far = [
        one
        for one in labelled_waters(teacher="gfn2-xtb")
        if one.interaction_energy is not None and one.gap > SMALL.cutoff
    ]
    assert len(far) > 3
    errors = evaluate(trained(), far)
    reference = 23.060547 * np.array([one.interaction_energy for one in far])
    assert (errors.near.count, errors.beyond.count) == (0, len(far))
    assert errors.beyond.rmse == pytest.approx(np.sqrt(np.mean(reference**2)), rel=1e-6)
    assert np.isnan(errors.near.rmse)


def test_labels_that_are_not_there_are_nan_and_counted_as_none() -> None:
    bare = [
        replace(one, forces=None, charges=None, dipole=None, interaction_energy=None)
        for one in labelled_waters(teacher="gfn2-xtb")[:4]
    ]
    errors = evaluate(trained(), bare)
    assert np.isfinite(errors.all.energy_rmse)
    assert np.isnan([errors.all.forces_rmse, errors.charges_mae, errors.dipole_rmse, errors.near.mae]).all()
    assert (errors.n_charges, errors.n_dipoles, errors.near.count, errors.beyond.count) == (0, 0, 0, 0)
    with pytest.raises(ValueError, match="test set: expected structures, found none"):
        evaluate(trained(), [])


def test_molecules_alone_keep_their_charges() -> None:
    three = replace(labelled_waters(teacher="gfn2-xtb")[2], charge=-1, molecule_charges=(1, 0, -2))
    alone = isolated_molecules(three)
    assert [one.charge for one in alone] == [1, 0, -2]
    assert_array_equal(np.concatenate([one.positions for one in alone]), three.positions)
