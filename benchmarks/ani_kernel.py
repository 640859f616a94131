"""Speed of the package's ANI kernel and of torchani's public modules on the same batches, in the same run.

One thread, float64, energies and forces. torchani is used as in its documentation: species padded with -1,
``SpeciesConverter``, ``AEVComputer``, ``Ensemble`` and ``EnergyShifter`` in turn, forces by autograd. The two
alternate; the table has medians of CPU time, which other work on the machine disturbs less than wall time.

    python benchmarks/ani_kernel.py [--model ani-2x] [--repeats 9]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence

os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import torch
from ase.units import Hartree

from hbcoop_dist.models import available, cards, checkpoints, load
from hbcoop_dist.models.families import ani
from hbcoop_dist.structures import Structure, make_chain, monomer
from hbcoop_dist.structures.monomers import build

Side = Callable[[Sequence[Structure]], tuple[list[float], list[np.ndarray]]]


def torchani_side(name: str) -> Side:
    """Energies (eV) and forces (eV/A) as a user of torchani computes them."""
    neurochem = ani._import_torchani()
    import torchani

    folder = checkpoints.find(cards()[name]).path
    constants = neurochem.Constants(str(next(folder.glob("*.params"))))
    model = torchani.nn.Sequential(
        torchani.nn.SpeciesConverter(constants.species),
        torchani.AEVComputer(**constants),
        neurochem.load_model_ensemble(constants.species, str(folder / "train"), 8).requires_grad_(False),
        neurochem.load_sae(str(folder / "sae_linfit.dat")),
    ).double()

    def evaluate(structures: Sequence[Structure]) -> tuple[list[float], list[np.ndarray]]:
        rows = [torch.tensor(structure.numbers) for structure in structures]
        species = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        rows = [torch.tensor(structure.positions) for structure in structures]
        positions = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).requires_grad_(True)
        energies = model((species, positions)).energies
        forces = -torch.autograd.grad(energies.sum(), positions)[0].numpy() * Hartree
        return (energies.detach() * Hartree).tolist(), [f[: len(s)] for f, s in zip(forces, structures, strict=True)]

    return evaluate


def our_side(name: str) -> Side:
    """Energies (eV) and forces (eV/A) of the package's own family."""
    potential = load(name)

    def evaluate(structures: Sequence[Structure]) -> tuple[list[float], list[np.ndarray]]:
        results = potential.evaluate(structures)
        return [r.energy for r in results], [r.forces for r in results if r.forces is not None]

    return evaluate


def batches() -> dict[str, list[Structure]]:
    chains = {n: build(make_chain("arc", n)) for n in (2, 4, 8, 12)}
    mixed = [monomer()] * 4 + [chains[2]] * 4 + [chains[4]] * 2 + [build(make_chain("arc", 5, "water")), chains[12]]
    return {
        "monomer alone": [monomer()],
        "dimer alone": [chains[2]],
        "12-mer alone": [chains[12]],
        "dimers": [chains[2]] * 16,
        "4-mers": [chains[4]] * 10,
        "8-mers": [chains[8]] * 5,
        "12-mers": [chains[12]] * 4,
        "1 to 12 units, ragged": mixed,
    }


def cpu_ms(sides: Sequence[Side], structures: Sequence[Structure], repeats: int) -> list[float]:
    """Median CPU time of each side, ms, measured alternately."""
    spent: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats + 2):
        for side, times in zip(sides, spent, strict=True):
            before = time.process_time()
            side(structures)
            if turn >= 2:  # the first turns warm caches
                times.append(time.process_time() - before)
    return [1e3 * statistics.median(times) for times in spent]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="ani-2x", choices=[card.name for card in ani.FAMILY.cards])
    parser.add_argument("--repeats", type=int, default=9)
    chosen = parser.parse_args()
    if not (state := available(cards()[chosen.model])):
        sys.exit(state.reason)
    torch.set_num_threads(1)
    print(f"{chosen.model}, float64, energy and forces, CPU ms, medians of {chosen.repeats}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {torch.get_num_threads()} thread")
    theirs, mine = torchani_side(chosen.model), our_side(chosen.model)
    head = f"{'batch':<22} {'structures':>10} {'atoms':>5}  {'torchani':>8} {'ours':>6}  ms/structure"
    print(f"{head}  {'ms/atom':>7} {'ratio':>5}  {'dE, eV':>7} {'dF, eV/A':>8}")
    for label, structures in batches().items():
        slow, fast = cpu_ms([theirs, mine], structures, chosen.repeats)
        (e1, f1), (e2, f2) = theirs(structures), mine(structures)
        energy = max(abs(a - b) for a, b in zip(e1, e2, strict=True))
        force = max(float(np.abs(a - b).max()) for a, b in zip(f1, f2, strict=True))
        count, atoms = len(structures), sum(len(structure) for structure in structures)
        print(
            f"{label:<22} {count:>10} {atoms:>5}  {slow / count:>8.2f} {fast / count:>6.2f} {'':>13}"
            f" {fast / atoms:>8.3f} {slow / fast:>5.1f}  {energy:>7.0e} {force:>8.0e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
