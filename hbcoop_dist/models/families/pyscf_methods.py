"""Names that say what a quantum-chemical model is, METHOD:BASIS[:FLAG...], and the card of one; needs no PySCF.

rimp2:aug-cc-pvtz                  also scs-mp2, sos-mp2, hf
wb97x-d3bj:def2-tzvp               any functional of PySCF, with D3 or D4 in its name
rimp2:cc-pvdz:frozen-core:cp       core orbitals not correlated; fragments in the basis of their complex
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping

from hbcoop_dist.models.base import ModelCard, ModelError

FROZEN_CORE, COUNTERPOISE = "frozen-core", "cp"

# Grimme, J. Chem. Phys. 2003, 118, 9095, eq. 6 and below; Jung et al., J. Chem. Phys. 2004, 121, 9793
SPIN_SCALED: Mapping[str, tuple[float, float]] = {
    "rimp2": (1.0, 1.0),
    "scs-mp2": (1 / 3, 6 / 5),
    "sos-mp2": (0.0, 1.3),
}
_OTHERS = ("mp2", "ri-mp2", "scs-rimp2", "sos-rimp2", "ccsd", "ccsd(t)")
_CITATIONS = {
    "scs-mp2": "; Grimme, J. Chem. Phys. 2003, 118, 9095, doi:10.1063/1.1569242",
    "sos-mp2": "; Jung et al., J. Chem. Phys. 2004, 121, 9793, doi:10.1063/1.1809602",
}
_PYSCF = "Sun et al., J. Chem. Phys. 2020, 153, 024109, doi:10.1063/5.0006074"
_MEMORY = "PYSCF_MAX_MEMORY"
_NAME = re.compile(r"(?P<method>[a-z][\w()-]*):(?P<basis>[\w+*()-]+)(?P<flags>(:[\w-]+)*)")


def named(name: str) -> ModelCard | None:
    """The card of a name METHOD:BASIS[:FLAG...]; None when the name is none.

    Raises
    ------
    ModelError
        When it is one, and a flag, the basis set or the functional is not known. The last two are looked for only where
        PySCF is installed.
    """
    parsed = _NAME.fullmatch(name)
    if parsed is None:
        return None
    method, basis = parsed["method"], parsed["basis"]
    flags = tuple(flag for flag in parsed["flags"].split(":") if flag)
    correlated = method in SPIN_SCALED
    allowed = (FROZEN_CORE, COUNTERPOISE) if correlated else (COUNTERPOISE,)
    if len(set(flags)) != len(flags) or not set(flags) <= set(allowed):
        found = ", ".join(flags)
        raise ModelError(f"model {name}: expected flags among {', '.join(allowed)}, each once, found {found}")
    if flags != (ordered := tuple(flag for flag in allowed if flag in flags)):
        right = ":".join((method, basis, *ordered))
        raise ModelError(f"model {name}: expected its flags in one order, {right}, found another")
    if method in _OTHERS:
        raise ModelError(f"model {name}: expected {', '.join(SPIN_SCALED)}, hf or a functional, found {method}")
    functional = not correlated and method != "hf"
    if importlib.util.find_spec("pyscf") is not None:
        _require_known(name, basis, method if functional else None)
    same_spin, opposite_spin = SPIN_SCALED.get(method, (0.0, 0.0))
    return ModelCard(
        name=name,
        family="pyscf",
        level_of_theory=_level(method, basis, flags),
        licence="Apache-2.0 (PySCF); LGPL-3.0-or-later (its dispersion corrections)",
        citation=_PYSCF + _CITATIONS.get(method, ""),
        elements=(1, 5, 6, 7, 8, 9, 14, 15, 16, 17),  # those that every fitting set has
        long_range=True,
        gpu=True,
        batched=False,
        single_point_cost="minutes",
        requires=("pyscf", *(("pyscf.dispersion",) if re.search(r"-d[34]", method) else ())),
        packages=("pyscf", "pyscf-dispersion", "gpu4pyscf-cuda12x", "gpu4pyscf-cuda13x"),
        forces=not correlated,
        # grids of functionals stand in the axes' directions
        rotation_invariant=not functional,
        counterpoise=COUNTERPOISE in flags,
        combination={"hf": 1.0, "same_spin": same_spin, "opposite_spin": opposite_spin} if correlated else {},
        # what decides an energy; how the parts of MP2 are weighted is not among it, so that one calculation serves all
        options={
            "method": "mp2" if correlated else method,
            "basis": _spelled(basis),
            **({"frozen_core": FROZEN_CORE in flags} if correlated else {}),
            **({"counterpoise": True} if COUNTERPOISE in flags else {}),
        },
    )


def _level(method: str, basis: str, flags: tuple[str, ...]) -> str:
    words = {"rimp2": "RI-MP2", "scs-mp2": "SCS-RI-MP2", "sos-mp2": "SOS-RI-MP2", "hf": "HF"}.get(method, method)
    more = {FROZEN_CORE: ", frozen core", COUNTERPOISE: ", counterpoise"}
    return f"{words}/{basis}, density fitting{''.join(more[flag] for flag in flags)}"


def check_memory(name: str) -> None:
    """Raise `ModelError` when ``PYSCF_MAX_MEMORY`` is no number, which PySCF reads as it is imported."""
    memory = os.environ.get(_MEMORY, "")
    if memory and not (memory.isdecimal() and int(memory) > 0):
        raise ModelError(f"model {name}: expected {_MEMORY} in MB, a whole number above 0, found {memory}")


def _require_known(name: str, basis: str, functional: str | None) -> None:
    check_memory(name)
    if _spelled(basis) not in fitted():
        known = ", ".join(map(_readable, fitted()))
        raise ModelError(f"model {name}: expected a basis set with fitting sets ({known}), found {basis}")
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
        raise ModelError(f"model {name}: expected a functional of PySCF, found {functional}: {error}") from None


def _spelled(basis: str) -> str:
    """A basis set as PySCF's table of fitting sets spells it, so that it is one whoever writes it how."""
    return basis.lower().replace("-", "").replace("_", "")


def _readable(basis: str) -> str:
    """A basis set that PySCF spells without hyphens, as chemists write it."""
    return re.sub(r"^(aug)?(cc|def2)?", lambda m: "".join(f"{part}-" for part in m.groups() if part), basis)


def fitted() -> tuple[str, ...]:
    """Basis sets that PySCF names fitting sets for, as it spells them."""
    from pyscf.df.addons import DEFAULT_AUXBASIS

    return tuple(DEFAULT_AUXBASIS)
