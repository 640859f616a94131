"""Quantum chemistry by PySCF: Hartree-Fock, density functionals and MP2, all with density fitting.

Models are named METHOD:BASIS[:FLAG...]; reading a name needs no PySCF:

rimp2:aug-cc-pvtz                  also scs-mp2, sos-mp2, hf
wb97x-d3bj:def2-tzvp               any functional of PySCF, with D3 or D4 in its name
rimp2:cc-pvdz:frozen-core:cp       core orbitals not correlated; fragments in the basis of their complex

RI-MP2, SCS-MP2 and SOS-MP2 are weighted sums of the same parts, the same-spin and opposite-spin energies, and cost one
calculation. The SCF of a structure is saved in the scratch folder while its MP2 runs, so that an interrupted
calculation resumes behind it. ``OMP_NUM_THREADS`` sets the threads and ``PYSCF_MAX_MEMORY`` the memory (MB, 4,000 by
default); integrals that do not fit are written to ``PYSCF_TMPDIR``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from ase.units import Bohr, Hartree

from hbcoop_dist.core.arrays import FloatArray
from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.models.published_models import COUNTERPOISE, FROZEN_CORE, SPIN_SCALED
from hbcoop_dist.structures import Structure

_OTHERS = ("mp2", "ri-mp2", "scs-rimp2", "sos-rimp2", "ccsd", "ccsd(t)")
_CITATIONS = {
    "scs-mp2": "; Grimme, J. Chem. Phys. 2003, 118, 9095, doi:10.1063/1.1569242",
    "sos-mp2": "; Jung et al., J. Chem. Phys. 2004, 121, 9793, doi:10.1063/1.1809602",
}
_PYSCF = "Sun et al., J. Chem. Phys. 2020, 153, 024109, doi:10.1063/5.0006074"
_MEMORY = "PYSCF_MAX_MEMORY"
_NAME = re.compile(r"(?P<method>[a-z][\w()-]*):(?P<basis>[\w+*()-]+)(?P<flags>(:[\w-]+)*)")


def _named(name: str) -> base.ModelCard | None:
    """Card of a name METHOD:BASIS[:FLAG...]; None when the name is not of that form.

    Basis sets and functionals are verified only where PySCF is installed.
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        return None
    method, basis = parsed["method"], parsed["basis"]
    flags = tuple(flag for flag in parsed["flags"].split(":") if flag)
    correlated = method in SPIN_SCALED
    allowed = (FROZEN_CORE, COUNTERPOISE) if correlated else (COUNTERPOISE,)
    if len(set(flags)) != len(flags) or not set(flags) <= set(allowed):
        raise base.ModelError(
            f"model {name}: expected flags among {', '.join(allowed)}, each once, found {', '.join(flags)}"
        )
    if flags != (ordered := tuple(flag for flag in allowed if flag in flags)):
        expected = ":".join((method, basis, *ordered))
        raise base.ModelError(f"model {name}: expected its flags in the order {expected}")
    if method in _OTHERS:
        raise base.ModelError(f"model {name}: expected {', '.join(SPIN_SCALED)}, hf or a functional, found {method}")
    functional = not correlated and method != "hf"
    if importlib.util.find_spec("pyscf") is not None:
        _require_known(name, basis, method if functional else None)
    same_spin, opposite_spin = SPIN_SCALED.get(method, (0.0, 0.0))
    # How the parts of MP2 are weighted is no option, so that one calculation serves all spin-component scalings.
    options: dict[str, object] = {"method": "mp2" if correlated else method, "basis": _pyscf_name(basis)}
    if correlated:
        options["frozen_core"] = FROZEN_CORE in flags
    if COUNTERPOISE in flags:
        options["counterpoise"] = True
    return base.ModelCard(
        name=name,
        family="pyscf",
        about=base.About(
            level_of_theory=_level(method, basis, flags),
            licence="Apache-2.0 (PySCF); LGPL-3.0-or-later (its dispersion corrections)",
            citation=_PYSCF + _CITATIONS.get(method, ""),
            elements=(1, 5, 6, 7, 8, 9, 14, 15, 16, 17),  # those in all fitting sets
            long_range=True,
        ),
        abilities=base.Abilities(
            forces=not correlated,
            counterpoise=COUNTERPOISE in flags,
            batched=False,
            single_point_cost="minutes",
            rotation_invariant=not functional,  # grids of functionals have fixed axes
        ),
        needs=Requirements(
            modules=("pyscf", *(("pyscf.dispersion",) if re.search(r"-d[34]", method) else ())),
            packages=("pyscf", "pyscf-dispersion", "gpu4pyscf-cuda12x", "gpu4pyscf-cuda13x"),
            gpu=True,
        ),
        combination={"hf": 1.0, "same_spin": same_spin, "opposite_spin": opposite_spin} if correlated else {},
        options=options,
    )


def _level(method: str, basis: str, flags: tuple[str, ...]) -> str:
    words = {"rimp2": "RI-MP2", "scs-mp2": "SCS-RI-MP2", "sos-mp2": "SOS-RI-MP2", "hf": "HF"}.get(method, method)
    more = {FROZEN_CORE: ", frozen core", COUNTERPOISE: ", counterpoise"}
    return f"{words}/{basis}, density fitting{''.join(more[flag] for flag in flags)}"


def _check_memory(name: str) -> None:
    """Raise `ModelError` when ``PYSCF_MAX_MEMORY``, which PySCF reads at import, is not a positive number."""
    memory = os.environ.get(_MEMORY, "")
    if memory and not (memory.isdecimal() and int(memory) > 0):
        raise base.ModelError(f"model {name}: expected {_MEMORY} in MB, a whole number above 0, found {memory}")


def _require_known(name: str, basis: str, functional: str | None) -> None:
    _check_memory(name)
    if _pyscf_name(basis) not in fitted_basis_sets():
        expected = ", ".join(map(_readable, fitted_basis_sets()))
        raise base.ModelError(f"model {name}: expected a basis set with fitting sets ({expected}), found {basis}")
    if functional is None:
        return
    from pyscf.dft import libxc
    from pyscf.scf.dispersion import DISP_VERSIONS, parse_dft, parse_disp

    try:
        libxc.parse_xc(parse_dft(functional)[0])
        version = parse_disp(functional)[1]
        if version and version not in DISP_VERSIONS:
            raise ValueError(f"dispersion {version} is none of {', '.join(DISP_VERSIONS)}")
    except (KeyError, NotImplementedError, ValueError) as error:
        raise base.ModelError(f"model {name}: expected a functional of PySCF, found {functional}: {error}") from None


def _pyscf_name(basis: str) -> str:
    """Name of a basis set in PySCF's table of fitting sets, the same for all spellings."""
    return basis.lower().replace("-", "").replace("_", "")


def _readable(basis: str) -> str:
    """Usual name of a basis set that PySCF spells without hyphens."""
    return re.sub(r"^(aug)?(cc|def2)?", lambda m: "".join(f"{part}-" for part in m.groups() if part), basis)


def fitted_basis_sets() -> tuple[str, ...]:
    """Basis sets for which PySCF has fitting sets, in its spelling."""
    from pyscf.df.addons import DEFAULT_AUXBASIS

    return tuple(DEFAULT_AUXBASIS)


# hartree: Eq. 1, a sum of seven energies, is converged to 1e-7 kcal/mol, forces to 1e-6 eV/A.
_ENERGY_TOLERANCE, _GRADIENT_TOLERANCE = 1e-10, 1e-7
_GRID_LEVEL = 4
_MAX_GUESSES = 32


@dataclass(frozen=True, slots=True)
class PyscfPotential(base.SequentialPotential):
    """A method and a basis set. Every structure is neutral, a closed shell; ghosts have basis functions only.

    Attributes
    ----------
    scratch : Path or None
        Folder for converged SCFs whose MP2 is not finished.
    guesses : dict
        Last density of the same atoms, as a guess in minimisations, least recently used first.
    """

    scratch: Path | None = None
    guesses: dict[bytes, FloatArray] = field(default_factory=dict)

    def with_scratch(self, folder: Path) -> PyscfPotential:
        return replace(self, scratch=folder / "pyscf")

    def compute(self, structures: Sequence[Structure], forces: bool, atom_energies: bool) -> list[base.Evaluation]:
        evaluations = []
        for structure in structures:
            evaluations.append(self.compute_single(structure, forces, atom_energies))
            if self.device != "cpu":
                _free_gpu_memory()
        return evaluations

    def compute_single(self, structure: Structure, forces: bool, atom_energies: bool) -> base.Evaluation:
        molecule = self._molecule(structure)
        with self._scf_file(structure) as path:
            scf = self._solve_scf(molecule, structure, path, forces)
            if self.card.options["method"] == "mp2":
                return self._solve_mp2(scf, molecule)
        energy = float(scf.e_tot) * Hartree
        if not forces:
            return base.Evaluation(energy)
        self._remember(structure, scf)
        gradient = scf.nuc_grad_method()
        if hasattr(gradient, "grid_response"):
            gradient.grid_response = True  # otherwise forces are not the gradient of the energy on this grid
        slope = gradient.kernel()
        # Arrays of gpu4pyscf are CuPy's, which NumPy does not convert implicitly.
        slope = slope.get() if hasattr(slope, "get") else slope
        return base.Evaluation(energy, forces=-np.asarray(slope) * (Hartree / Bohr))

    def _molecule(self, structure: Structure) -> Any:
        from pyscf import gto

        ghost = np.isin(structure.molecules, structure.ghosts)
        electrons = int(structure.numbers[~ghost].sum())
        if electrons % 2:
            raise base.ModelError(f"model {self.card.name}: expected paired electrons, found {electrons}")
        atoms = [
            (f"ghost-{chemical_symbols[z]}" if away else chemical_symbols[z], tuple(at))
            for z, away, at in zip(structure.numbers, ghost, structure.positions / Bohr, strict=True)
        ]
        return gto.M(atom=atoms, basis=self.card.options["basis"], unit="Bohr", verbose=0)

    def _solve_scf(self, molecule: Any, structure: Structure, path: Path | None, forces: bool) -> Any:
        if self.device == "cpu":
            from pyscf import dft, scf
        else:
            from gpu4pyscf import dft, scf

        method = str(self.card.options["method"])
        plain = scf.RHF(molecule) if method in ("hf", "mp2") else dft.RKS(molecule, xc=method)
        solver = plain.density_fit(auxbasis=_fitting_set(molecule, str(self.card.options["basis"]), 0))
        solver.conv_tol, solver.conv_tol_grad = _ENERGY_TOLERANCE, _GRADIENT_TOLERANCE
        if hasattr(solver, "grids"):
            solver.grids.level = _GRID_LEVEL
        guess = self.guesses.get(_atoms_key(structure)) if forces else None
        if path is not None:
            solver.chkfile = str(path)
            with contextlib.suppress(Exception):  # a truncated file only costs the SCF cycles
                guess = solver.from_chk(str(path)) if path.stat().st_size else guess
        solver.kernel(dm0=guess)
        if not solver.converged:
            second_order = (solver if self.device == "cpu" else solver.to_cpu()).newton()
            second_order.kernel()
            solver.kernel(dm0=second_order.make_rdm1())
        if not solver.converged:
            raise base.ModelError(
                f"model {self.card.name}: {len(structure)} atoms: expected a converged SCF, found none"
            )
        return solver

    def _solve_mp2(self, scf: Any, molecule: Any) -> base.Evaluation:
        from pyscf.data.elements import chemcore

        frozen = chemcore(molecule) if self.card.options["frozen_core"] else None
        fitting = _fitting_set(molecule, str(self.card.options["basis"]), 1)
        correlation = (_mp2_on_cpu if self.device == "cpu" else _mp2_on_gpu)(scf, molecule, frozen, fitting)
        correlation.kernel(with_t2=False)
        parts = {
            "hf": float(scf.e_tot) * Hartree,
            "same_spin": float(correlation.e_corr_ss) * Hartree,
            "opposite_spin": float(correlation.e_corr_os) * Hartree,
        }
        return base.Evaluation(_combined(self.card, parts), parts=parts)

    @contextlib.contextmanager
    def _scf_file(self, structure: Structure) -> Iterator[Path | None]:
        """File for the SCF of a structure, which is removed when its energy is computed; None without MP2."""
        if self.scratch is None or self.card.options["method"] != "mp2":
            yield None
            return
        content = repr((sorted(self.card.options.items()), structure.ghosts)).encode()
        name = hashlib.sha256(content + structure.numbers.tobytes() + structure.positions.tobytes()).hexdigest()[:32]
        path = self.scratch / f"{name}.chk"
        try:
            self.scratch.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError:  # without a writable scratch folder an interrupted calculation starts again
            yield None
            return
        yield path
        path.unlink(missing_ok=True)

    def _remember(self, structure: Structure, scf: Any) -> None:
        while len(self.guesses) >= _MAX_GUESSES:
            self.guesses.pop(next(iter(self.guesses)))
        self.guesses[_atoms_key(structure)] = scf.make_rdm1()


def _free_gpu_memory() -> None:
    """Free the memory that CuPy caches, tens of GB after a large structure, for other processes on the GPU."""
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()


def _mp2_on_cpu(scf: Any, molecule: Any, frozen: int | None, fitting: dict[str, Any]) -> Any:
    from pyscf import df
    from pyscf.mp.dfmp2 import DFMP2

    correlation = DFMP2(scf, frozen=frozen)
    correlation.with_df = df.DF(molecule, auxbasis=fitting)
    return correlation


def _mp2_on_gpu(scf: Any, molecule: Any, frozen: int | None, fitting: dict[str, Any]) -> Any:
    from gpu4pyscf.mp.dfmp2 import DFMP2

    return DFMP2(scf, frozen=frozen, auxbasis=fitting)


def _combined(card: base.ModelCard, parts: Mapping[str, float]) -> float:
    return sum(weight * parts[name] for name, weight in card.combination.items())


def _atoms_key(structure: Structure) -> bytes:
    return structure.numbers.tobytes() + repr(structure.ghosts).encode()


def _fitting_set(molecule: Any, basis: str, which: int) -> dict[str, Any]:
    """Fitting set of a basis set for Coulomb and exchange (0) or MP2 (1), on ghosts too."""
    from pyscf import gto
    from pyscf.df.addons import DEFAULT_AUXBASIS

    name = DEFAULT_AUXBASIS[basis][which]
    symbols = {molecule.atom_symbol(atom) for atom in range(molecule.natm)}
    return {symbol: gto.basis.load(name, symbol.rpartition("-")[2].capitalize()) for symbol in symbols}


class PyscfFamily(base.ModelFamily):
    """Methods and basis sets by name."""

    def named(self, name: str) -> base.ModelCard | None:
        return _named(name)

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> PyscfPotential:
        """Make the potential; on a GPU it runs in gpu4pyscf, or on the CPU where that is not installed."""
        _check_memory(card.name)
        import pyscf.scf  # noqa: F401  a missing library fails here and not at the first evaluation

        if checkpoint is not None or dtype != "float64":
            raise base.ModelError(
                f"model {card.name}: expected no checkpoint, and float64; found {checkpoint}, {dtype}"
            )
        if device != "cpu" and importlib.util.find_spec("gpu4pyscf") is None:
            device = "cpu"
        return PyscfPotential(card, checkpoints.identity(card), device)


FAMILY = PyscfFamily()
