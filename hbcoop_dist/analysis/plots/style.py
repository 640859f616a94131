"""Colours, markers and sizes shared by all figures.

The look of a model depends on its name alone, so that figures of different stores can be compared. Black is reserved
for reference values.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

# Any: older matplotlib wants str keys, newer a literal type
RC: Any = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "lines.linewidth": 1.3,
    "lines.markersize": 4.8,
    "lines.markeredgewidth": 1.1,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "legend.handlelength": 2.0,
    "figure.dpi": 120.0,
    "savefig.dpi": 300.0,
    "pdf.fonttype": 42,  # text stays text in a PDF
}
GREY = "#8a8a8a"
REFERENCE_LOOK: dict[str, Any] = {"color": "black", "marker": "_", "markersize": 9.0, "linestyle": "none"}
PANEL_WIDTH, PANEL_HEIGHT = 2.1, 2.05
"""Inches; three panels and a legend fill the width of a printed page."""


@dataclass(frozen=True, slots=True)
class ModelStyle:
    """Colour (hex) and matplotlib marker of a model."""

    colour: str
    marker: str


# Okabe and Ito's palette, without yellow (too light on paper) and black (reserved for references).
_KNOWN = {
    "so3lr": ModelStyle("#D55E00", "o"),
    "ani-2x": ModelStyle("#0072B2", "s"),
    "ani-1ccx": ModelStyle("#56B4E9", "s"),
    "gfn2-xtb": ModelStyle("#009E73", "D"),
    "amber14": ModelStyle("#CC79A7", "^"),
    "amoeba2018": ModelStyle("#882255", "v"),
    "charmm-drude": ModelStyle("#AA4499", "P"),
    "charmm36": ModelStyle("#CC6677", "<"),
    "ani-1x": ModelStyle("#332288", "s"),
    "gfn1-xtb": ModelStyle("#117733", "D"),
    "mace-off23-small": ModelStyle("#E69F00", "<"),
    "mace-off23-medium": ModelStyle("#E69F00", "p"),
    "mace-off23-large": ModelStyle("#E69F00", ">"),
    "mace-off24-medium": ModelStyle("#E69F00", "h"),
    "mace-spice-2022": ModelStyle("#E69F00", "^"),
    "mace-r-4-l-0": ModelStyle("#0072B2", "p"),
    "maceles-r-4-l-0": ModelStyle("#0072B2", "X"),
    "mace-r-4.5-l-0": ModelStyle("#CC79A7", "p"),
    "maceles-r-4.5-l-0": ModelStyle("#CC79A7", "X"),
    "sevennet-0": ModelStyle("#661100", "h"),
    "orb-v2": ModelStyle("#44AA99", "X"),
    "orb-d3-v2": ModelStyle("#44AA99", "P"),
    "orb-v3-conservative-inf-omat": ModelStyle("#999933", "X"),
    "orb-v3-conservative-omol": ModelStyle("#999933", "P"),
}
# Other models: Tol's muted palette without its two lightest colours.
_COLOURS = ("#332288", "#117733", "#44AA99", "#999933", "#CC6677", "#882255", "#AA4499")
_MARKERS = ("v", "P", "X", "p", "h", "<", ">")


def model_style(name: str) -> ModelStyle:
    """Colour and marker of a model, the same in every figure and every session.

    Parameters
    ----------
    name : str
        Name of a model; any name has a style.
    """
    if name in _KNOWN:
        return _KNOWN[name]
    # hash() is salted: its colours would change from one session to the next
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return ModelStyle(_COLOURS[number % len(_COLOURS)], _MARKERS[number // len(_COLOURS) % len(_MARKERS)])


_SCHEMES = {
    "none": "#777777",
    "charge-embedding": "#E69F00",
    "les": "#0072B2",
    "celli": "#D55E00",
    "efa": "#009E73",
}


def scheme_colour(name: str) -> str:
    """Colour of a long-range scheme, the same in every figure.

    Parameters
    ----------
    name : str
        Label of a scheme; a scheme with options has a colour of its own.
    """
    return _SCHEMES.get(name) or model_style(f"scheme {name}").colour


def no_results(panel: Axes, text: str = "no results") -> None:
    """Write a note into the middle of an empty panel.

    Parameters
    ----------
    panel : Axes
    text : str
    """
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color=GREY)


def bond_title(position: str, pattern: str, length: int, capping: str) -> str:
    """Title of a figure of one H-bond of one chain.

    Parameters
    ----------
    position, pattern, capping : str
    length : int
    """
    return f"{position} H-bond, {pattern}, n = {length}" + (", capped" if capping == "water" else "")
