"""Write docs/yardstick.md: how precise the bundled references are, and every model of a store beside them.

python analysis/yardstick.py STORE [FILE]

STORE has the geometries of nma-so3lr beside own ones: store/nma.zarr.zip, or what hbcoop run yardstick STORE makes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import hbcoop_dist as hb
from hbcoop_dist.analysis.yardstick import beside_models, by_level, wall_times
from hbcoop_dist.references import bundled_geometries
from hbcoop_dist.store import StoreError

DOCS = Path(__file__).resolve().parents[1] / "docs" / "yardstick.md"
GEOMETRY = "nma-so3lr"
PARTS = {"cooperative_energy": "all of it", "cooperative_energy_electronic": "electronic part"}
HEAD = """\
# The yardstick

Cooperative energies (Eq. 1) of arc chains in kcal/mol. Written by `make yardstick` from what the package holds
(`hbcoop_dist/references/`, whose README says how it was computed and how to read it) and from the published store
(`store/README.md`). Basis sets and flags are written as in a campaign: `:cp` is counterpoise. `dimer V` is the
interaction energy of the bare dimer.
"""


def main() -> None:
    """Write the tables."""
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    try:
        ds = hb.open_store(sys.argv[1])
        models = _models(ds)
    except StoreError as error:
        sys.exit(str(error))
    except ValueError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
    pieces = [HEAD, "## By level of theory and geometry\n"]
    pieces += [_levels(name) for name in bundled_geometries()]
    pieces += [f"## Models at the geometries of {GEOMETRY}, and at their own minima\n", models, "## Wall times\n"]
    pieces += [
        "Seconds for the fragments of a chain (SCF and MP2); its isolated dimers are the chain of two.\n",
        _times(),
    ]
    path = Path(sys.argv[2]) if len(sys.argv) == 3 else DOCS
    path.write_text("\n".join(pieces))
    print(path)


def _levels(geometry: str) -> str:
    pieces = []
    for quantity, words in PARTS.items():
        table = by_level(quantity).loc[geometry]
        for rotamer in table.index.get_level_values("rotamer").unique():
            rows = _markdown(table.loc[rotamer].reset_index())
            pieces.append(f"### {geometry}, rotamer {rotamer}: {words}\n\n{rows}\n")
    return "\n".join(pieces)


def _models(ds: object) -> str:
    table = beside_models(ds, GEOMETRY)  # type: ignore[arg-type]
    table.columns = pd.Index([f"{place}, {label}" for place, label in table.columns])
    return _markdown(table.rename_axis("model").reset_index()) + "\n"


def _times() -> str:
    return _markdown(wall_times().reset_index(), 0) + "\n"


def _markdown(table: pd.DataFrame, digits: int = 2) -> str:
    def cell(value: object) -> str:
        if isinstance(value, float):
            return "" if pd.isna(value) else f"{value:.{digits}f}"
        return str(value)

    lines = [list(map(str, table.columns)), ["---"] * table.shape[1]]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
