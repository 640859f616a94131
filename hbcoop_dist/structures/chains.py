"""Chains of NMA units without coordinates: length, conformers, rotamers and caps, and the labels of their results."""

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
"""Positions of an H-bond in a chain (`position_of`)."""
CELL_DIMS: tuple[str, ...] = ("model", "pattern", "length", "capping", "geometry", "rotamer", "constraint")
"""Labels of a cell: one model in one chain at one geometry."""
DIMER_DIMS: tuple[str, ...] = ("model", "geometry", "rotamer", "constraint", "conformer")
"""Labels of an isolated dimer."""
UNIT_TYPES = ("all", "odd", "even", "first", "last")
CAP_WATERS = 4
"""Number of waters of a capped chain: one accepts at the free N-H, three are at the free C=O."""


@dataclass(frozen=True, slots=True, order=True)
class Rotamer:
    """Methyl orientations of one unit.

    Attributes
    ----------
    acetyl : {"cis-N", "cis-O"}
        Bond that the in-plane H of the acetyl CH3 eclipses: C-N or C=O.
    amine : {"cis-C", "trans-C"}
        Whether the in-plane H of the N-CH3 eclipses N-C(=O) or points away from it.
    """

    acetyl: Acetyl = "cis-N"
    amine: Amine = "trans-C"

    def __str__(self) -> str:
        return f"{self.acetyl}, {self.amine}"

    @classmethod
    def parse(cls, text: str) -> Rotamer:
        """Parse a rotamer, e.g. ``"cis-N, trans-C"``.

        Parameters
        ----------
        text : str
            Acetyl and amine orientation, separated by a comma.

        Returns
        -------
        Rotamer

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
    """A chain of NMA units; a single unit is the monomer.

    Attributes
    ----------
    conformers : tuple of {"syn", "anti"}
        Conformer of every H-bond.
    rotamers : tuple of Rotamer
        Rotamer of every unit.
    capping : {"none", "water"}

    Raises
    ------
    ValueError
        When there is not exactly one rotamer per unit.
    """

    conformers: tuple[Conformer, ...]
    rotamers: tuple[Rotamer, ...]
    capping: Capping = "none"

    def __post_init__(self) -> None:
        if len(self.rotamers) != len(self.conformers) + 1:
            raise ValueError(
                f"chain: expected one rotamer per unit ({len(self.conformers) + 1}), found {len(self.rotamers)}"
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
        """Return the isolated dimer of one H-bond, in the same conformer and rotamers and without caps.

        Parameters
        ----------
        hbond : int
            H-bond of the chain, from 1.

        Returns
        -------
        Chain

        Raises
        ------
        ValueError
            When the chain has no such H-bond.
        """
        if not 1 <= hbond < self.length:
            raise ValueError(f"H-bond: expected 1..{self.length - 1}, found {hbond}")
        return Chain((self.conformers[hbond - 1],), self.rotamers[hbond - 1 : hbond + 1])

    def prefix(self, length: int) -> Chain:
        """Return the chain of the first `length` units, with the same capping.

        Raises
        ------
        ValueError
            When the chain is shorter.
        """
        if not 1 <= length <= self.length:
            raise ValueError(f"prefix: expected 1..{self.length} units, found {length}")
        return Chain(self.conformers[: length - 1], self.rotamers[:length], self.capping)

    def as_data(self) -> dict[str, object]:
        """Convert to JSON types; the content-hash keys of tasks depend on the result."""
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
    """List the conformers of a pattern: all syn for ``arc``, alternating from syn for ``linear``.

    Parameters
    ----------
    pattern : {"arc", "linear"}
    length : int
        Number of units, at least 2.

    Returns
    -------
    tuple of {"syn", "anti"}
        One conformer per H-bond.

    Raises
    ------
    ValueError
        When the pattern is unknown or the length below 2.
    """
    if pattern not in PATTERNS:
        raise ValueError(f"pattern: expected one of {', '.join(PATTERNS)}, found {pattern!r}")
    if length < 2:
        raise ValueError(f"length: expected at least 2 units, found {length}")
    return tuple("anti" if pattern == "linear" and bond % 2 else "syn" for bond in range(length - 1))


def rotamers_of(rule: Mapping[str, Rotamer], length: int) -> tuple[Rotamer, ...]:
    """List the rotamers of a chain from a rule by unit type.

    Parameters
    ----------
    rule : mapping of str to Rotamer
        Keys are ``all``, ``odd``, ``even`` (units are numbered from 1), ``first`` and ``last``. ``first`` and ``last``
        take precedence over ``odd`` and ``even``, and these over ``all``; `DEFAULT_ROTAMER` fills gaps.
    length : int
        Number of units.

    Returns
    -------
    tuple of Rotamer
        One rotamer per unit.

    Raises
    ------
    ValueError
        When the rule has an unknown unit type.
    """
    if unknown := sorted(set(rule) - set(UNIT_TYPES)):
        raise ValueError(f"rotamer: expected unit types {', '.join(UNIT_TYPES)}, found {', '.join(unknown)}")
    rotamers: list[Rotamer] = []
    for unit in range(1, length + 1):
        unit_types = ["odd" if unit % 2 else "even", "all"]
        if unit == length:
            unit_types.insert(0, "last")
        if unit == 1:
            unit_types.insert(0, "first")
        rotamers.append(next((rule[unit_type] for unit_type in unit_types if unit_type in rule), DEFAULT_ROTAMER))
    return tuple(rotamers)


def make_chain(
    pattern: Pattern,
    length: int,
    capping: Capping = "none",
    rotamers: Sequence[Rotamer] | Rotamer = DEFAULT_ROTAMER,
) -> Chain:
    """Make the chain of one cell.

    Parameters
    ----------
    pattern : {"arc", "linear"}
    length : int
        Number of units, at least 2.
    capping : {"none", "water"}
    rotamers : Rotamer or sequence of Rotamer
        One for all units, or one per unit.

    Returns
    -------
    Chain

    Raises
    ------
    ValueError
        When an argument is outside the values above.
    """
    if capping not in CAPPINGS:
        raise ValueError(f"capping: expected one of {', '.join(CAPPINGS)}, found {capping!r}")
    per_unit = (rotamers,) * length if isinstance(rotamers, Rotamer) else tuple(rotamers)
    return Chain(conformers_of(pattern, length), per_unit, capping)


def position_of(position: str, length: int) -> int:
    """Return the H-bond, from 1, at a position: 1 for head, length - 1 for tail, length // 2 for middle.

    Parameters
    ----------
    position : {"head", "middle", "tail"}
    length : int
        Number of units.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        When the position is unknown.
    """
    positions = {"head": 1, "tail": length - 1, "middle": length // 2}
    if position not in positions:
        raise ValueError(f"position: expected head, middle or tail, found {position!r}")
    return positions[position]


def rotamer_label(rule: Mapping[str, str]) -> str:
    """Label of a rotamer rule: ``cis-N, trans-C``, or ``odd: cis-N, cis-C; all: cis-N, trans-C``."""
    if set(rule) == {"all"}:
        return rule["all"]
    return "; ".join(f"{units}: {rotamer}" for units, rotamer in rule.items())
