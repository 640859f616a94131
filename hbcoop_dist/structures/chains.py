"""What is asked for, before any coordinates: how many units, which conformers, rotamers and caps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Pattern = Literal["arc", "linear"]
Capping = Literal["none", "water"]
Conformer = Literal["syn", "anti"]
Acetyl = Literal["cis-N", "cis-O"]
Amine = Literal["cis-C", "trans-C"]

PATTERNS: tuple[str, ...] = get_args(Pattern)
CAPPINGS: tuple[str, ...] = get_args(Capping)
CONFORMERS: tuple[str, ...] = get_args(Conformer)
POSITIONS: tuple[str, ...] = ("head", "middle", "tail")
CELL_DIMS: tuple[str, ...] = ("model", "pattern", "length", "capping", "geometry", "rotamer")
"""Labels of a cell: one model in one chain at one geometry."""
DIMER_DIMS: tuple[str, ...] = ("model", "geometry", "rotamer", "conformer")
"""Labels of an isolated dimer."""
UNIT_TYPES = ("all", "odd", "even", "first", "last")
CAP_WATERS = 4
"""Waters of a capped chain: one accepts at the free N-H, three sit at the free C=O."""


@dataclass(frozen=True, slots=True, order=True)
class Rotamer:
    """Methyl orientations of one unit.

    The in-plane H of the acetyl CH3 eclipses C-N (``cis-N``) or C=O (``cis-O``); that of the N-CH3 eclipses
    N-C(=O) (``cis-C``) or points the other way (``trans-C``).
    """

    acetyl: Acetyl = "cis-N"
    amine: Amine = "trans-C"

    def __str__(self) -> str:
        return f"{self.acetyl}, {self.amine}"

    @classmethod
    def parse(cls, text: str) -> Rotamer:
        """Read ``"cis-N, trans-C"``.

        Raises
        ------
        ValueError
            When the text is not an acetyl and an amine orientation.
        """
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 2 or parts[0] not in get_args(Acetyl) or parts[1] not in get_args(Amine):
            allowed = " | ".join(f'"{acetyl}, {amine}"' for acetyl in get_args(Acetyl) for amine in get_args(Amine))
            raise ValueError(f"rotamer: expected {allowed}, found {text!r}")
        return cls(parts[0], parts[1])  # type: ignore[arg-type]


DEFAULT_ROTAMER = Rotamer()


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of NMA units: one conformer per H-bond, one rotamer per unit, capped or not.

    A single unit (no conformers) is the monomer.
    """

    conformers: tuple[Conformer, ...]
    rotamers: tuple[Rotamer, ...]
    capping: Capping = "none"

    def __post_init__(self) -> None:
        if len(self.rotamers) != len(self.conformers) + 1:
            raise ValueError(
                f"system: expected one rotamer per unit ({len(self.conformers) + 1}), found {len(self.rotamers)}"
            )

    @property
    def length(self) -> int:
        """Number of NMA units."""
        return len(self.rotamers)

    @property
    def n_atoms(self) -> int:
        """Number of atoms, caps included."""
        return 12 * self.length + (3 * CAP_WATERS if self.capping == "water" else 0)

    def dimer(self, hbond: int) -> Chain:
        """The isolated dimer of H-bond `hbond` (1-based): same conformer, same rotamers, no caps."""
        if not 1 <= hbond < self.length:
            raise ValueError(f"H-bond: expected 1..{self.length - 1}, found {hbond}")
        return Chain((self.conformers[hbond - 1],), self.rotamers[hbond - 1 : hbond + 1])

    def prefix(self, length: int) -> Chain:
        """The first `length` units, with the same caps."""
        if not 1 <= length <= self.length:
            raise ValueError(f"prefix: expected 1..{self.length} units, found {length}")
        return Chain(self.conformers[: length - 1], self.rotamers[:length], self.capping)

    def as_data(self) -> dict[str, object]:
        """Plain data, for hashing and printing."""
        return {
            "conformers": list(self.conformers),
            "rotamers": [str(rotamer) for rotamer in self.rotamers],
            "capping": self.capping,
        }

    def __str__(self) -> str:
        if self.length == 1:
            return f"monomer ({self.rotamers[0]})"
        conformers = "-".join(self.conformers) if self.length <= 4 else f"{self.length} units"
        return f"{conformers}{' + water caps' if self.capping == 'water' else ''}"


def conformers_of(pattern: Pattern, length: int) -> tuple[Conformer, ...]:
    """Conformer of every H-bond: arc is all syn, linear is syn, anti, syn, ... beginning with syn."""
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, found {pattern!r}")
    if length < 2:
        raise ValueError(f"length: expected at least 2 units, found {length}")
    return tuple("anti" if pattern == "linear" and bond % 2 else "syn" for bond in range(length - 1))


def rotamers_of(rule: Mapping[str, Rotamer], length: int) -> tuple[Rotamer, ...]:
    """Rotamer of every unit from a rule by unit type.

    Keys are ``all``, ``odd``, ``even`` (units count from 1), ``first`` and ``last``; the more special wins:
    first and last over odd and even over all.
    """
    if unknown := sorted(set(rule) - set(UNIT_TYPES)):
        raise ValueError(f"rotamer: expected unit types {', '.join(UNIT_TYPES)}, found {', '.join(unknown)}")
    chosen: list[Rotamer] = []
    for unit in range(1, length + 1):
        kinds = ["odd" if unit % 2 else "even", "all"]
        if unit == length:
            kinds.insert(0, "last")
        if unit == 1:
            kinds.insert(0, "first")
        chosen.append(next((rule[kind] for kind in kinds if kind in rule), DEFAULT_ROTAMER))
    return tuple(chosen)


def make_chain(
    pattern: Pattern,
    length: int,
    capping: Capping = "none",
    rotamers: Sequence[Rotamer] | Rotamer = DEFAULT_ROTAMER,
) -> Chain:
    """The system of one cell: `length` units in the given pattern, with or without water caps."""
    if capping not in CAPPINGS:
        raise ValueError(f"capping: expected one of {', '.join(CAPPINGS)}, found {capping!r}")
    per_unit = (rotamers,) * length if isinstance(rotamers, Rotamer) else tuple(rotamers)
    return Chain(conformers_of(pattern, length), per_unit, capping)


def position_of(position: str, length: int) -> int:
    """H-bond (1-based) of a position: head = 1, tail = length - 1, middle = length // 2."""
    positions = {"head": 1, "tail": length - 1, "middle": length // 2}
    if position not in positions:
        raise ValueError(f"position: expected head, middle or tail, found {position!r}")
    return positions[position]


def rotamer_label(rule: Mapping[str, str]) -> str:
    """Label of a rotamer rule: ``cis-N, trans-C``, or ``odd: cis-N, cis-C; all: cis-N, trans-C``."""
    if set(rule) == {"all"}:
        return rule["all"]
    return "; ".join(f"{units}: {rotamer}" for units, rotamer in rule.items())
