"""Draw the imports between the packages of hbcoop_dist into docs/architecture.md, as a Mermaid diagram.

    .venv/bin/python docs/import_graph.py            # rewrites the diagram
    .venv/bin/python docs/import_graph.py --check    # exits with 1 when it is out of date

An arrow means "imports". Arrows that follow from others are left out (transitive reduction).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import grimp
import networkx as nx

PAGE = Path(__file__).with_name("architecture.md")
PACKAGE = "hbcoop_dist"
_BLOCK = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)


def module_graph(package: str = PACKAGE) -> nx.DiGraph:
    """Imports between modules, those inside functions too, without those for type checkers alone.

    Parameters
    ----------
    package : str
        An importable package.

    Returns
    -------
    networkx.DiGraph
        Nodes are dotted names of modules; an edge leads from a module to one that it imports.
    """
    imports = grimp.build_graph(package, exclude_type_checking_imports=True, cache_dir=None)
    graph = nx.DiGraph()
    graph.add_nodes_from(imports.modules)
    for module in imports.modules:
        graph.add_edges_from((module, imported) for imported in imports.find_modules_directly_imported_by(module))
    return graph


def package_graph(modules: nx.DiGraph) -> nx.DiGraph:
    """Imports between the packages directly below the root; the root's own modules are left out.

    Parameters
    ----------
    modules : networkx.DiGraph
        As `module_graph` returns it.

    Returns
    -------
    networkx.DiGraph
        Nodes are names of packages without the root.
    """
    packages = {name.split(".")[1] for name in modules if name.count(".") > 1}
    graph = nx.DiGraph()
    graph.add_nodes_from(packages)
    for importer, imported in modules.edges:
        ends = tuple(name.partition(".")[2].partition(".")[0] for name in (importer, imported))
        if ends[0] != ends[1] and packages.issuperset(ends):
            graph.add_edge(*ends)
    return graph


def diagram(packages: nx.DiGraph) -> str:
    """Mermaid flowchart of an acyclic graph, reduced to the arrows that do not follow from others.

    Parameters
    ----------
    packages : networkx.DiGraph

    Returns
    -------
    str

    Raises
    ------
    ValueError
        When packages import each other in a circle.
    """
    if circles := sorted(sorted(group) for group in nx.strongly_connected_components(packages) if len(group) > 1):
        raise ValueError(f"expected no circle of imports, found {circles}")
    edges = sorted(nx.transitive_reduction(packages).edges)
    return "".join(["flowchart TD\n", *(f"    {importer} --> {imported}\n" for importer, imported in edges)])


def page_with(drawn: str, page: str) -> str:
    """Text of the page with its diagram replaced.

    Parameters
    ----------
    drawn : str
        As `diagram` returns it.
    page : str
        Markdown with one Mermaid block.

    Returns
    -------
    str
    """
    return _BLOCK.sub(lambda _: drawn, page, count=1)


def main() -> int:
    """Rewrite the page, or with ``--check`` compare it; the exit code is 1 when it was out of date."""
    old = PAGE.read_text(encoding="utf-8")
    new = page_with(diagram(package_graph(module_graph())), old)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(new, encoding="utf-8")
        return 0
    return int(new != old)


if __name__ == "__main__":
    sys.exit(main())
