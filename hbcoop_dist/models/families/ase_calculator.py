"""Models that only offer an ASE calculator: any importable class, one structure at a time.

A spec names the class and its keyword arguments; there are no registered cards. The hash of such a model covers the
path of the class, the arguments, the version of the distribution that contains it (for a module outside of
distributions, the contents of its file) and the contents of every file named by the arguments.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from hbcoop_dist.core.tasks import Requirements
from hbcoop_dist.models import base, checkpoints
from hbcoop_dist.structures import Structure

DEFAULT_ELEMENTS = (1, 6, 7, 8)


def calculator_card(
    name: str,
    calculator: str,
    kwargs: Mapping[str, Any] | None = None,
    *,
    elements: Sequence[int] = DEFAULT_ELEMENTS,
    dtype: str = "float64",
    atom_energies: bool = False,
) -> base.ModelCard:
    """Make the card of a calculator without importing its class.

    Parameters
    ----------
    name : str
        Name that the user chose.
    calculator : str
        ``package.module:Class``, or ``package.module:Class.method`` where a method of the class makes the calculator.
    kwargs : mapping, optional
        Keyword arguments of the class; data that JSON can represent.
    elements : sequence of int
        Atomic numbers the calculator was made for.
    dtype : {"float64", "float32"}
        Float type of the calculator's own numbers; nothing is converted.
    atom_energies : bool
        Whether it has energies per atom (``get_potential_energies``).

    Raises
    ------
    ModelError
        When the path is not of the form ``package.module:Class``, the module does not exist, or an argument cannot be
        represented in JSON.
    """
    try:
        arguments = json.dumps(dict(kwargs or {}), sort_keys=True)
    except TypeError as error:
        raise base.ModelError(f"model {name}: kwargs: expected data that JSON can represent, found {error}") from None
    identity = _identity(name, calculator, arguments)
    package = calculator.partition(":")[0].partition(".")[0]
    reason = "declared so in the spec" if dtype != "float64" else ""
    return base.ModelCard(
        name=name,
        family="ase",
        about=base.About(
            level_of_theory=f"unknown: ASE calculator {calculator}",
            licence="unknown (user-supplied calculator)",
            citation=f"see package {package}",
            elements=tuple(elements),
        ),
        abilities=base.Abilities(atom_energies=atom_energies, batched=False, dtype=dtype, dtype_reason=reason),
        needs=Requirements(modules=(package,), packages=_distributions(package)),
        checkpoint=base.CheckpointInfo(sha256=identity),
        options={"calculator": calculator, "kwargs": arguments},
    )


def _find(name: str, calculator: str) -> ModuleSpec:
    """Find the module of ``package.module:Class`` folder by folder, since importing a parent package may be slow."""
    module, _, attribute = calculator.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise base.ModelError(
            f"model {name}: expected a calculator like package.module:Class or package.module:Class.method, "
            f"found {calculator!r}"
        )
    package, *parts = module.split(".")
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:
        spec = None
    for part in parts:
        if spec is None:
            break
        package = f"{package}.{part}"
        spec = PathFinder.find_spec(package, spec.submodule_search_locations or [])
    if spec is None:
        raise base.ModelError(
            f"model {name}: expected a module {module} for calculator {calculator}, found no {package}"
        )
    return spec


@functools.cache
def _distributions(package: str) -> tuple[str, ...]:
    """Distributions that contain a package."""
    return tuple(dict.fromkeys(packages_distributions().get(package, ())))


def _identity(name: str, calculator: str, arguments: str) -> str:
    module = _find(name, calculator)
    total = hashlib.sha256(f"{calculator}\0{arguments}\0".encode())
    distributions = _distributions(module.name.partition(".")[0])
    for distribution in distributions:
        total.update(f"{distribution} {version(distribution)}\0".encode())
    if not distributions and module.has_location and module.origin:
        total.update(f"{checkpoints.sha256_of(Path(module.origin))}\0".encode())
    for file in _files(json.loads(arguments)):
        total.update(f"{checkpoints.sha256_of(file)}\0".encode())
    return total.hexdigest()


def _files(value: Any) -> list[Path]:
    """All existing files named in JSON data, in order."""
    if isinstance(value, dict):
        return [file for key in sorted(value) for file in _files(value[key])]
    if isinstance(value, list):
        return [file for item in value for file in _files(item)]
    return [Path(value)] if isinstance(value, str) and _is_file(value) else []


def files_beside(folder: Path, value: Any) -> Any:
    """Make the names of files in a folder absolute, wherever they appear in JSON data.

    Parameters
    ----------
    folder : Path
        Folder of the spec.
    value : object
        Data of dicts, lists and scalars; anything but names of existing files is left unchanged.
    """
    if isinstance(value, dict):
        return {key: files_beside(folder, item) for key, item in value.items()}
    if isinstance(value, list):
        return [files_beside(folder, item) for item in value]
    if isinstance(value, str) and _is_file(str(folder / value)):
        return str(folder / value)
    return value


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a string that is too long or not valid as a file name
        return False


@dataclass(frozen=True, slots=True)
class CalculatorPotential(base.SequentialPotential):
    """An ASE calculator.

    Attributes
    ----------
    calculator : ase.calculators.calculator.Calculator
    """

    calculator: Any

    def compute_single(self, structure: Structure, forces: bool, atom_energies: bool) -> base.Evaluation:
        atoms = structure.to_ase()
        # Some calculators start from their last result; results must not depend on earlier evaluations.
        if hasattr(self.calculator, "reset"):
            self.calculator.reset()
        atoms.calc = self.calculator
        per_atom = atom_energies and self.card.abilities.atom_energies
        return base.Evaluation(
            energy=float(atoms.get_potential_energy()),
            forces=np.array(atoms.get_forces(), dtype=float) if forces else None,
            atom_energies=np.array(atoms.get_potential_energies(), dtype=float) if per_atom else None,
        )


class AseFamily(base.ModelFamily):
    """Calculators of ASE, which users describe in their specs."""

    def load(self, card: base.ModelCard, checkpoint: Path | None, device: str, dtype: str) -> CalculatorPotential:
        if checkpoint is not None or device != "cpu" or dtype != card.abilities.dtype:
            expected = f"no checkpoint, device cpu, {card.abilities.dtype}"
            raise base.ModelError(f"model {card.name}: expected {expected}; found {checkpoint}, {device}, {dtype}")
        path, arguments = str(card.options["calculator"]), str(card.options["kwargs"])
        identity = _identity(card.name, path, arguments)
        if identity != card.checkpoint.sha256:
            raise base.ModelError(
                f"model {card.name}: expected calculator {path} as planned (version, contents of files): "
                f"sha256 {card.checkpoint.sha256}, found {identity}"
            )
        module, _, attribute = path.partition(":")
        try:
            calculator = attrgetter(attribute)(importlib.import_module(module))(**json.loads(arguments))
        except Exception as error:  # a class of another package may raise anything
            raise base.ModelError(
                f"model {card.name}: expected calculator {path} with kwargs {arguments}, found "
                f"{type(error).__name__}: {error}"
            ) from error
        return CalculatorPotential(card, identity, device, calculator)


FAMILY = AseFamily()
