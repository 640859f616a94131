"""What runs on a GPU says what it says on the CPU: models, batches that do not fit, and whole campaigns.

Needs a CUDA device; make test-gpu.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from hbcoop_dist.cli.command_line import app
from hbcoop_dist.models import Potential, available, cards, custom_card, load
from hbcoop_dist.models.batching import BatchSize, evaluate
from hbcoop_dist.models.checkpoints import CHECKPOINTS_VARIABLE
from hbcoop_dist.models.checks.contract import check
from hbcoop_dist.structures import Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

DEVICE = "cuda"
# a MACE network that no card has
MINE = ("mace-spice-2022.model",)


@functools.cache
def _mine() -> dict[str, Path]:
    found = {}
    for folder in map(Path, os.environ.get(CHECKPOINTS_VARIABLE, "").split(os.pathsep)):
        found |= {(folder / name).stem: folder / name for name in MINE if (folder / name).is_file()}
    return found


def _names() -> list[str]:
    return [name for name, card in cards().items() if card.needs.gpu] + [Path(name).stem for name in MINE]


@functools.cache
def _loaded(name: str, device: str) -> Potential:
    if name in cards():
        if not (state := available(cards()[name])):
            pytest.skip(state.reason)
        return load(name, device=device)
    if name not in _mine():
        pytest.skip(f"no {name} in HBCOOP_CHECKPOINTS")
    return load(custom_card(name, "mace", _mine()[name], trusted=True), _mine()[name], device=device)


@pytest.mark.parametrize("name", _names())
def test_model_keeps_the_contract_on_the_gpu(name: str) -> None:
    failed = [result for result in check(_loaded(name, DEVICE)) if not result.passed]
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.parametrize("name", _names())
def test_gpu_and_cpu_agree(name: str) -> None:
    chains = [build(make_chain("arc", length)) for length in (2, 5, 3)] + [monomer()]
    on_cpu, on_gpu = (_loaded(name, device).evaluate(chains) for device in ("cpu", DEVICE))
    double = _loaded(name, DEVICE).card.abilities.dtype == "float64"
    for chain, one, other in zip(chains, on_cpu, on_gpu, strict=True):
        assert other.energy == pytest.approx(one.energy, abs=(1e-10 if double else 1e-6) * len(chain) * 40)
        np.testing.assert_allclose(other.forces, one.forces, atol=1e-8 if double else 1e-3)


def _chains(count: int) -> list[Structure]:
    random = np.random.default_rng(count)
    chain = build(make_chain("arc", 4))
    return [
        chain.with_positions(chain.positions + 0.01 * random.standard_normal(chain.positions.shape))
        for _ in range(count)
    ]


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A device that has only 2 GB left for this process."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(2e9 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_a_batch_that_does_not_fit_is_halved_until_it_does(little_memory: None) -> None:
    potential, chains = _loaded("so3lr", DEVICE), _chains(600)
    batch = BatchSize.of(DEVICE)
    batch.atoms = batch.most = sum(map(len, chains))
    found = evaluate(potential, chains, batch=batch)
    assert batch.most < sum(map(len, chains)), "all of it fitted: the test shows nothing"
    for chain, one in zip(chains[::150], found[::150], strict=True):
        assert one.energy == pytest.approx(potential.evaluate([chain])[0].energy, abs=1e-7)


def test_batches_grow_to_what_the_memory_holds_and_no_further() -> None:
    potential, chains = _loaded("so3lr", DEVICE), _chains(400)
    seen: list[int] = []

    class Watched:
        card, device, parameter_hash = potential.card, potential.device, potential.parameter_hash

        def evaluate(
            self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
        ) -> list[object]:
            seen.append(sum(map(len, structures)))
            return potential.evaluate(structures, forces=forces, atom_energies=atom_energies)  # type: ignore[return-value]

    batch = BatchSize.of(DEVICE)
    evaluate(Watched(), chains, batch=batch)  # type: ignore[arg-type]
    assert seen[0] <= 500
    assert max(seen) > 2 * seen[0]
    assert batch.bytes_per_atom > 0


SPEC = """\
campaign: gpu
models: [so3lr, ani-1ccx]
patterns: [arc, linear]
lengths: [2, 3, 4]
capping: [none, water]
"""


def test_a_campaign_on_the_gpu_gives_the_store_of_the_cpu(tmp_path: Path) -> None:
    spec = tmp_path / "gpu.yaml"
    spec.write_text(SPEC)
    stores = {}
    for device in ("cpu", DEVICE):
        path = tmp_path / f"{device}.zarr"
        arguments = ["run", str(spec), str(path), "--device", device, "--workers", "1" if device == DEVICE else "4"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        stores[device] = xr.open_zarr(path).load()
    cpu, gpu = stores["cpu"], stores[DEVICE]
    done = (cpu["status"] == "done").values
    np.testing.assert_array_equal(gpu["status"].values, cpu["status"].values)
    assert done.sum() > 10
    # minima are converged to 1e-5 eV/A: soft chains move by some 1e-3 A, energies of the second order in that
    for name, close in {"cooperative_energy": 2e-4, "distance_on": 2e-3}.items():
        difference = np.abs(gpu[name].values - cpu[name].values)[done]
        assert np.nanmax(difference) < close, f"{name}: {np.nanmax(difference)}"
