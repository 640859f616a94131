"""Quantum chemistry by PySCF: Hartree-Fock, density functionals and MP2, all with density fitting.

Models are named by what they are (`pyscf_names`).  MP2's same-spin and opposite-spin parts come with its energy, so
that RI-MP2, SCS-MP2 and SOS-MP2 are sums of the same parts and cost one calculation.  The SCF of a structure is kept
beside the store while its MP2 runs, so that a killed calculation goes on behind it.  Threads are those of
``OMP_NUM_THREADS``, memory that of ``PYSCF_MAX_MEMORY`` (MB, 4,000 unless set); integrals that do not fit go to
``PYSCF_TMPDIR``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr, Hartree

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Evaluation, FloatArray, ModelCard, ModelError, require_elements
from hbcoop_dist.models.families import pyscf_methods as pyscf_names
from hbcoop_dist.structures import Structure

CARDS: tuple[ModelCard, ...] = ()


def named(name: str) -> ModelCard | None:
    """The card of a name METHOD:BASIS[:FLAG...], None when it is none; see `pyscf_names.named`."""
    return pyscf_names.named(name)


# Ha: seven energies of Eq. 1 keep 1e-7 kcal/mol, and forces 1e-6 eV/A
_ENERGY_TOLERANCE, _GRADIENT_TOLERANCE = 1e-10, 1e-7
_GRID_LEVEL = 4
_KEPT_GUESSES = 32


@dataclass(frozen=True, slots=True)
class PyscfPotential:
    """A method and a basis set; see `hbcoop_dist.models.base.Potential`. Every structure is neutral, a closed shell.

    Where forces are asked for, as in a minimisation, the last density of the same atoms is the guess of the next.
    """

    card: ModelCard
    parameter_hash: str
    device: str
    scratch: Path | None = None
    guesses: dict[bytes, FloatArray] = field(default_factory=dict)

    def with_scratch(self, folder: Path) -> PyscfPotential:
        """The same, keeping what has converged in a folder until it is no longer needed."""
        return replace(self, scratch=folder / "pyscf")

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate one structure after another; `Structure.ghosts` lend their basis functions only.

        Raises
        ------
        ModelError
            When forces of a method without them are asked for, electrons are left unpaired, or the SCF does not
            converge.
        """
        require_elements(self.card, structures)
        if forces and not self.card.forces:
            raise ModelError(f"model {self.card.name}: expected energies only, found a call for forces: it has none")
        found = []
        for structure in structures:
            found.append(self._single(structure, forces))
            if self.device != "cpu":
                _give_back()
        return found

    def _single(self, structure: Structure, forces: bool) -> Evaluation:
        molecule = self._molecule(structure)
        with self._kept(structure) as kept:
            solved = self._solve(molecule, structure, kept, forces)
            if self.card.options["method"] == "mp2":
                return self._correlated(solved, molecule)
        energy = float(solved.e_tot) * Hartree
        if not forces:
            return Evaluation(energy)
        self._remember(structure, solved)
        gradient = solved.nuc_grad_method()
        if hasattr(gradient, "grid_response"):
            gradient.grid_response = True  # without it forces are no gradient of the energy on this grid
        slope = gradient.kernel()
        # gpu4pyscf's arrays are cupy's, which numpy does not take unasked
        slope = slope.get() if hasattr(slope, "get") else slope
        return Evaluation(energy, forces=-np.asarray(slope) * (Hartree / Bohr))

    def _molecule(self, structure: Structure) -> Any:
        from pyscf import gto

        ghost = np.isin(structure.molecules, structure.ghosts)
        electrons = int(structure.numbers[~ghost].sum())
        if electrons % 2:
            raise ModelError(f"model {self.card.name}: expected paired electrons, found {electrons}")
        atoms = [
            (f"ghost-{chemical_symbols[z]}" if away else chemical_symbols[z], tuple(at))
            for z, away, at in zip(structure.numbers, ghost, structure.positions / Bohr, strict=True)
        ]
        return gto.M(atom=atoms, basis=self.card.options["basis"], unit="Bohr", verbose=0)

    def _solve(self, molecule: Any, structure: Structure, kept: Path | None, forces: bool) -> Any:
        if self.device == "cpu":
            from pyscf import dft, scf
        else:
            from gpu4pyscf import dft, scf

        method = str(self.card.options["method"])
        plain = scf.RHF(molecule) if method in ("hf", "mp2") else dft.RKS(molecule, xc=method)
        field_ = plain.density_fit(auxbasis=_fitting_set(molecule, str(self.card.options["basis"]), 0))
        field_.conv_tol, field_.conv_tol_grad = _ENERGY_TOLERANCE, _GRADIENT_TOLERANCE
        if hasattr(field_, "grids"):
            field_.grids.level = _GRID_LEVEL
        guess = self.guesses.get(_atoms(structure)) if forces else None
        if kept is not None:
            field_.chkfile = str(kept)
            with contextlib.suppress(Exception):  # one that a kill has cut short costs the cycles, no more
                guess = field_.from_chk(str(kept)) if kept.stat().st_size else guess
        field_.kernel(dm0=guess)
        if not field_.converged:
            second_order = (field_ if self.device == "cpu" else field_.to_cpu()).newton()
            second_order.kernel()
            field_.kernel(dm0=second_order.make_rdm1())
        if not field_.converged:
            raise ModelError(f"model {self.card.name}: {len(structure)} atoms: expected a converged SCF, found none")
        return field_

    def _correlated(self, solved: Any, molecule: Any) -> Evaluation:
        from pyscf.data.elements import chemcore

        frozen = chemcore(molecule) if self.card.options["frozen_core"] else None
        fitting = _fitting_set(molecule, str(self.card.options["basis"]), 1)
        correlation = (_mp2_on_cpu if self.device == "cpu" else _mp2_on_gpu)(solved, molecule, frozen, fitting)
        correlation.kernel(with_t2=False)
        parts = {
            "hf": float(solved.e_tot) * Hartree,
            "same_spin": float(correlation.e_corr_ss) * Hartree,
            "opposite_spin": float(correlation.e_corr_os) * Hartree,
        }
        return Evaluation(combined(self.card, parts), parts=parts)

    @contextlib.contextmanager
    def _kept(self, structure: Structure) -> Iterator[Path | None]:
        """Where the SCF of a structure is written down; gone once its energy is there."""
        if self.scratch is None or self.card.options["method"] != "mp2":
            yield None
            return
        what = repr((sorted(self.card.options.items()), structure.ghosts)).encode()
        name = hashlib.sha256(what + structure.numbers.tobytes() + structure.positions.tobytes()).hexdigest()[:32]
        kept = self.scratch / f"{name}.chk"
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            kept.touch()
        except OSError:  # a scratch folder that cannot be written costs what a kill would lose, not the energy
            yield None
            return
        yield kept
        kept.unlink(missing_ok=True)

    def _remember(self, structure: Structure, solved: Any) -> None:
        while len(self.guesses) >= _KEPT_GUESSES:
            self.guesses.pop(next(iter(self.guesses)))
        self.guesses[_atoms(structure)] = solved.make_rdm1()


def _give_back() -> None:
    """Let others on the GPU have what cupy keeps for its next arrays: tens of GB after a large structure."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


def _mp2_on_cpu(solved: Any, molecule: Any, frozen: int | None, fitting: dict[str, Any]) -> Any:
    from pyscf import df
    from pyscf.mp.dfmp2 import DFMP2

    correlation = DFMP2(solved, frozen=frozen)
    correlation.with_df = df.DF(molecule, auxbasis=fitting)
    return correlation


def _mp2_on_gpu(solved: Any, molecule: Any, frozen: int | None, fitting: dict[str, Any]) -> Any:
    from gpu4pyscf.mp.dfmp2 import DFMP2

    return DFMP2(solved, frozen=frozen, auxbasis=fitting)


def combined(card: ModelCard, parts: Mapping[str, float]) -> float:
    """Energy of a model from the parts it is put together from, eV."""
    return sum(weight * parts[name] for name, weight in card.combination.items())


def _atoms(structure: Structure) -> bytes:
    return structure.numbers.tobytes() + repr(structure.ghosts).encode()


def _fitting_set(molecule: Any, basis: str, which: int) -> dict[str, Any]:
    """Fitting set of a basis set, for Coulomb and exchange (0) or for MP2 (1), on ghosts as on atoms."""
    from pyscf import gto
    from pyscf.df.addons import DEFAULT_AUXBASIS

    name = DEFAULT_AUXBASIS[basis][which]
    symbols = {molecule.atom_symbol(atom) for atom in range(molecule.natm)}
    return {symbol: gto.basis.load(name, symbol.rpartition("-")[2].capitalize()) for symbol in symbols}


def load(card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64") -> PyscfPotential:
    """Make the potential. On a GPU all of it runs in gpu4pyscf where that is installed, and on the CPU where it is not.

    Raises
    ------
    ModelError
        When asked for a checkpoint or another float type, or when ``PYSCF_MAX_MEMORY`` is no number.
    """
    pyscf_names.check_memory(card.name)
    import pyscf.scf  # noqa: F401  fail here, not at the first evaluation

    if checkpoint is not None or dtype != "float64":
        raise ModelError(f"model {card.name}: expected no checkpoint, and float64; found {checkpoint}, {dtype}")
    if device != "cpu" and importlib.util.find_spec("gpu4pyscf") is None:
        device = "cpu"
    return PyscfPotential(card, checkpoints.identity(card), device)
