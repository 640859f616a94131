"""Models that only offer an ASE calculator: any class that can be imported, one structure at a time.

A spec names the class and its keyword arguments; there are no registered cards.  What the model is, for task keys, is
the path of the class, the arguments, the version of the distribution it comes from (for a module of no distribution,
the contents of its file), and the contents of every file the arguments name: another file under the same name is
another model.
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

from hbcoop_dist.models import checkpoints
from hbcoop_dist.models.base import Evaluation, ModelCard, ModelError, require_elements
from hbcoop_dist.structures import Structure

CARDS: tuple[ModelCard, ...] = ()
DEFAULT_ELEMENTS = (1, 6, 7, 8)


def calculator_card(
    name: str,
    calculator: str,
    kwargs: Mapping[str, Any] | None = None,
    *,
    elements: Sequence[int] = DEFAULT_ELEMENTS,
    dtype: str = "float64",
    atom_energies: bool = False,
) -> ModelCard:
    """The card of a calculator; the class is not imported.

    Parameters
    ----------
    name : str
    calculator : str
        ``package.module:Class``, or ``package.module:Class.method`` where a method of the class makes it.
    kwargs : mapping, optional
        Keyword arguments of the class, plain data (what JSON can say).
    elements : sequence of int
        Atomic numbers it was made for.
    dtype : {"float64", "float32"}
        What its energies and forces are good to; nothing is cast.
    atom_energies : bool
        Whether it has per-atom energies (``get_potential_energies``).

    Raises
    ------
    ModelError
        When the path is no ``package.module:Class``, there is no such module, or an argument is no plain data.
    """
    try:
        arguments = json.dumps(dict(kwargs or {}), sort_keys=True)
    except TypeError as error:
        raise ModelError(f"model {name}: kwargs: expected plain data, found one that is not: {error}") from None
    identity = _identity(name, calculator, arguments)
    package = calculator.partition(":")[0].partition(".")[0]
    reason = "declared so in the spec" if dtype != "float64" else ""
    return ModelCard(
        name=name,
        family="ase",
        level_of_theory=f"unknown: ASE calculator {calculator}",
        licence="unknown (user-supplied calculator)",
        citation=f"see package {package}",
        elements=tuple(elements),
        sha256=identity,
        dtype=dtype,
        dtype_reason=reason,
        atom_energies=atom_energies,
        batched=False,
        requires=(package,),
        packages=_holders(package),
        options={"calculator": calculator, "kwargs": arguments},
    )


def _find(name: str, calculator: str) -> ModuleSpec:
    """The module of ``package.module:Class``, looked for folder by folder: importing a parent may be slow."""
    module, _, attribute = calculator.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise ModelError(
            f"model {name}: expected a calculator like package.module:Class or package.module:Class.method, "
            f"found {calculator!r}"
        )
    package, *parts = module.split(".")
    try:
        found = importlib.util.find_spec(package)
    except ValueError:
        found = None
    for part in parts:
        if found is None:
            break
        package = f"{package}.{part}"
        found = PathFinder.find_spec(package, found.submodule_search_locations or [])
    if found is None:
        raise ModelError(f"model {name}: expected a module {module} for calculator {calculator}, found no {package}")
    return found


@functools.cache
def _holders(package: str) -> tuple[str, ...]:
    """Distributions that hold a package."""
    return tuple(dict.fromkeys(packages_distributions().get(package, ())))


def _identity(name: str, calculator: str, arguments: str) -> str:
    module = _find(name, calculator)
    total = hashlib.sha256(f"{calculator}\0{arguments}\0".encode())
    holders = _holders(module.name.partition(".")[0])
    for distribution in holders:
        total.update(f"{distribution} {version(distribution)}\0".encode())
    if not holders and module.has_location and module.origin:
        total.update(f"{checkpoints.sha256_of(Path(module.origin))}\0".encode())
    for file in _files(json.loads(arguments)):
        total.update(f"{checkpoints.sha256_of(file)}\0".encode())
    return total.hexdigest()


def _files(value: Any) -> list[Path]:
    """Every existing file named anywhere in plain data, in order."""
    if isinstance(value, dict):
        return [file for key in sorted(value) for file in _files(value[key])]
    if isinstance(value, list):
        return [file for item in value for file in _files(item)]
    return [Path(value)] if isinstance(value, str) and _is_file(value) else []


def files_beside(folder: Path, value: Any) -> Any:
    """Plain data with the name of every file that lies in a folder made absolute; everything else stays as it is."""
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
    except (OSError, ValueError):  # a text too long, or not fit, to be a name
        return False


@dataclass(frozen=True, slots=True)
class CalculatorPotential:
    """A calculator behind the interface of all models; see `hbcoop_dist.models.base.Potential`."""

    card: ModelCard
    parameter_hash: str
    device: str
    calculator: Any

    def evaluate(
        self, structures: Sequence[Structure], *, forces: bool = True, atom_energies: bool = False
    ) -> list[Evaluation]:
        """Evaluate one structure after another."""
        require_elements(self.card, structures)
        return [self._single(structure, forces, atom_energies) for structure in structures]

    def _single(self, structure: Structure, forces: bool, atom_energies: bool) -> Evaluation:
        atoms = structure.to_ase()
        # some calculators start from their last result: nothing may depend on what was evaluated before
        if hasattr(self.calculator, "reset"):
            self.calculator.reset()
        atoms.calc = self.calculator
        parts = atom_energies and self.card.atom_energies
        return Evaluation(
            energy=float(atoms.get_potential_energy()),
            forces=np.array(atoms.get_forces(), dtype=float) if forces else None,
            atom_energies=np.array(atoms.get_potential_energies(), dtype=float) if parts else None,
        )


def load(
    card: ModelCard, checkpoint: Path | None, *, device: str = "cpu", dtype: str = "float64"
) -> CalculatorPotential:
    """Import the class and make the calculator.

    Raises
    ------
    ModelError
        When asked for a checkpoint or a GPU, a file of the arguments is not the one the card was made for, or the class
        cannot be imported or made.
    """
    if checkpoint is not None or device != "cpu" or dtype != card.dtype:
        expected = f"no checkpoint, device cpu, {card.dtype}"
        raise ModelError(f"model {card.name}: expected {expected}; found {checkpoint}, {device}, {dtype}")
    path, arguments = str(card.options["calculator"]), str(card.options["kwargs"])
    found = _identity(card.name, path, arguments)
    if found != card.sha256:
        raise ModelError(
            f"model {card.name}: expected calculator {path} as planned (version, contents of files): "
            f"sha256 {card.sha256}, found {found}"
        )
    module, _, attribute = path.partition(":")
    try:
        calculator = attrgetter(attribute)(importlib.import_module(module))(**json.loads(arguments))
    except Exception as error:  # another package's class may raise anything
        raise ModelError(
            f"model {card.name}: expected calculator {path} with kwargs {arguments}, found "
            f"{type(error).__name__}: {error}"
        ) from error
    return CalculatorPotential(card, found, device, calculator)
