"""The claims of Sanocki and Zavadlav (2026) and what a store of trained networks says of each, as a table in Markdown.

python analysis/claims.py [STORE]
"""

from __future__ import annotations

from hbcoop_dist.campaigns.generalization.report_pages import claims_table
from hbcoop_dist.cli.scripts import run_script
from hbcoop_dist.report import markdown_table
from hbcoop_dist.store import open_store


def main(store: str = "store/generalization-claims.zarr.zip") -> None:
    table = claims_table(open_store(store, kind="generalization").load())
    print(f"{table.caption}\n\n{markdown_table(table)}")


if __name__ == "__main__":
    run_script(main, __doc__)
