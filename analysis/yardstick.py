"""Write docs/yardstick.md: how precise the bundled references are, and every model of a store beside them.

python analysis/yardstick.py [STORE] [FILE]

STORE has the geometries of nma-so3lr beside own ones, as what hbcoop run yardstick STORE makes.
"""

from __future__ import annotations

from pathlib import Path

import hbcoop_dist as hb
from hbcoop_dist.analysis.tables.reference_page import yardstick_page
from hbcoop_dist.cli.scripts import run_script


def main(store: str = "store/nma.zarr.zip", file: str = "docs/yardstick.md") -> None:
    page = yardstick_page(hb.open_store(store))
    print(Path(file).write_text(page, encoding="utf-8"), "characters,", file)


if __name__ == "__main__":
    run_script(main, __doc__)
