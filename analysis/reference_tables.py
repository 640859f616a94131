"""Write docs/reference-levels.md: the bundled references by level of theory, and the models of a store beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hbcoop_dist as hb
from hbcoop_dist.analysis.tables import reference_levels_page


def main(
    store: Annotated[
        str, typer.Argument(help="Store with the geometries own and nma-so3lr, as reference-geometries.yaml makes it.")
    ] = "store/nma.zarr.zip",
    output: Annotated[Path, typer.Option("--output", "-o", help="Markdown file to write.")] = Path(
        "docs/reference-levels.md"
    ),
) -> None:
    """Write the page and print its name."""
    output.write_text(reference_levels_page(hb.open_store(store)), encoding="utf-8")
    print(output)


if __name__ == "__main__":
    typer.run(main)
