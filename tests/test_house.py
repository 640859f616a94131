"""Rules of the code base itself: size of files, names, imports and their diagram, names in the documentation."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import typer
from typer.core import TyperGroup

from hbcoop_dist.cli.command_line import app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hbcoop_dist"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES_OF_A_FILE = 600
ARCHITECTURE = ROOT / "docs" / "architecture.md"
FORBIDDEN_WORDS = frozenset(
    {
        "ahead", "asked", "bars", "collapsed", "complete", "draft", "drive", "held", "identities", "kept", "lender",
        "lent", "marked", "noise", "offers", "outline", "pace", "ready", "repeats", "survey", "systems", "teacher",
        "teachers", "todo", "told", "untested", "whole", "workforce", "yardstick",
    }
)  # fmt: skip
"""Words for which the field has another one; names of modules avoid them."""

IMPORT_GRAPH = runpy.run_path(str(ROOT / "docs" / "import_graph.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _defined_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name))


def _all_of(tree: ast.Module) -> list[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    return []


def test_no_file_is_longer_than_a_topic() -> None:
    lengths = {_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FILE} == {}


def test_no_module_shares_its_name_with_what_it_defines() -> None:
    assert [_name(path) for path in FILES if path.stem in _defined_names(_tree(path))] == []


def test_no_public_name_of_a_package_hides_one_of_its_modules() -> None:
    hidden = {}
    for path in FILES:
        if path.name == "__init__.py":
            modules = {other.stem for other in path.parent.iterdir() if other.suffix == ".py" or other.is_dir()}
            if clash := modules & set(_all_of(_tree(path))):
                hidden[_name(path)] = sorted(clash)
    assert hidden == {}


def test_names_of_modules_come_from_the_field() -> None:
    parts = {_name(path): set(path.relative_to(PACKAGE).with_suffix("").parts) for path in FILES}
    words = {name: {word for part in names for word in part.split("_")} for name, names in parts.items()}
    assert {name: sorted(found) for name, names in words.items() if (found := names & FORBIDDEN_WORDS)} == {}


def test_packages_only_import_and_list_their_names() -> None:
    for path in FILES:
        # the package itself imports its public names at their first use, see tests/cli/test_startup.py
        if path.name != "__init__.py" or path.parent == PACKAGE:
            continue
        tree = _tree(path)
        for number, node in enumerate(tree.body):
            docstring = number == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            listed = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
            imported = isinstance(node, (ast.Import, ast.ImportFrom))
            assert docstring or listed or imported, f"{_name(path)}:{node.lineno}: {ast.unparse(node)}"
        names = [
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module != "__future__"
            for alias in node.names
        ]
        assert sorted(_all_of(tree)) == sorted(names), f"{_name(path)}: what is imported is listed, and the reverse"


def test_nothing_is_loose_at_the_top() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} <= {"__init__", "__main__", "plugin"}
    folders = [path for path in PACKAGE.rglob("*") if path.is_dir() and any(path.glob("*.py"))]
    assert [_name(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_every_module_has_a_layer() -> None:
    """The import linter's own exhaustiveness leaves out the root; here every name below it is in one layer."""
    layers, _ = _contracts()
    names = [name.strip(" ()") for layer in layers["layers"] for name in layer.split("|")]
    assert sorted(names) == sorted(
        {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES} - {"__init__"}
    )


def test_array_aliases_are_defined_in_one_module() -> None:
    aliases = {
        _name(path): ast.unparse(node)
        for path in FILES
        for node in _tree(path).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and node.value is not None
        and "NDArray[" in ast.unparse(node.value)
        and isinstance(node.value, ast.Subscript)
    }
    assert set(aliases) == {"hbcoop_dist/core/arrays.py"}


@pytest.fixture(scope="module")
def modules() -> nx.DiGraph:
    graph: nx.DiGraph = IMPORT_GRAPH["module_graph"]()
    assert len(graph) == len(FILES)
    return graph


def test_no_circle_of_imports(modules: nx.DiGraph) -> None:
    """Imports inside functions count, those for type checkers do not."""
    assert sorted(sorted(group) for group in nx.strongly_connected_components(modules) if len(group) > 1) == []


def test_the_diagram_shows_the_imports(modules: nx.DiGraph) -> None:
    page = ARCHITECTURE.read_text(encoding="utf-8")
    drawn = IMPORT_GRAPH["diagram"](IMPORT_GRAPH["package_graph"](modules))
    assert drawn in page, "out of date; run: .venv/bin/python docs/import_graph.py"


def test_a_diagram_leaves_out_what_follows_and_refuses_circles() -> None:
    drawn = IMPORT_GRAPH["diagram"](nx.DiGraph([("a", "b"), ("b", "c"), ("a", "c")]))
    assert drawn == "flowchart TD\n    a --> b\n    b --> c\n"
    with pytest.raises(ValueError, match=r"expected no circle of imports, found \[\['a', 'b'\]\]"):
        IMPORT_GRAPH["diagram"](nx.DiGraph([("a", "b"), ("b", "a")]))


def test_every_path_that_the_architecture_page_names_exists() -> None:
    """A path with KIND must exist for every built-in kind."""
    quoted = _quoted_on_the_architecture_page()
    paths = {text for text in quoted if "/" in text and " " not in text}
    assert len(paths) > 20
    every_kind = {path.replace("KIND", kind) for path in paths for kind in _kinds()}
    assert [path for path in sorted(every_kind) if not (ROOT / path).exists()] == []


def test_every_class_and_entry_point_group_that_the_architecture_page_names_exists() -> None:
    quoted = _quoted_on_the_architecture_page()
    classes = {text for text in quoted if re.fullmatch(r"[A-Z][a-z]\w*", text)}
    assert classes
    defined = {node.name for path in FILES for node in _tree(path).body if isinstance(node, ast.ClassDef)}
    assert classes - defined == set()
    groups = {text for text in quoted if re.fullmatch(r"hbcoop_dist\.\w+", text)}
    modules = {f"hbcoop_dist.{path.relative_to(PACKAGE).parts[0].removesuffix('.py')}" for path in FILES}
    source = "".join(path.read_text(encoding="utf-8") for path in FILES)
    assert {name for name in groups - modules if f'"{name}"' not in source} == set()


def test_no_shared_module_depends_on_a_kind_of_campaign(modules: nx.DiGraph) -> None:
    """Only a kind's own modules and the commands that are about one kind import them."""
    packages = tuple(f"hbcoop_dist.campaigns.{kind}" for kind in _kinds())
    commands = {"hbcoop_dist.cli.bridge_command", "hbcoop_dist.cli.dataset_commands"}
    importers = {
        importer
        for importer, imported in modules.edges
        if imported.startswith(packages) and not importer.startswith(packages)
    }
    assert importers <= commands


def test_every_kind_of_campaign_passes_one_contract_suite() -> None:
    suites = [
        ast.literal_eval(statement.value)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for node in _tree(path).body
        if isinstance(node, ast.ClassDef) and "KindContract" in [ast.unparse(base) for base in node.bases]
        for statement in node.body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "name"
    ]
    assert len(suites) == len(set(suites))
    # one more than the built-in kinds: a kind of another distribution needs no edit in the package
    assert len(set(suites) - set(_kinds())) == 1
    assert set(_kinds()) < set(suites)


def _quoted_on_the_architecture_page() -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", ARCHITECTURE.read_text(encoding="utf-8")))


def _kinds() -> tuple[str, ...]:
    """Names of the built-in kinds of campaigns."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(settings["project"]["entry-points"]["hbcoop_dist.campaign_kinds"])


def _contracts() -> list[dict[str, Any]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = settings["tool"]["importlinter"]["contracts"]
    return contracts


def test_the_contracts_have_no_exceptions() -> None:
    layers, forbidden = _contracts()
    assert layers["exhaustive"] is True
    for contract in (layers, forbidden):
        assert not {"ignore_imports", "allow_indirect_imports", "exhaustive_ignores"} & set(contract)


def test_planning_reading_and_plotting_load_no_torch(modules: nx.DiGraph) -> None:
    """What the contract forbids in the source must not happen at run time either, for example by an entry point."""
    _, forbidden = _contracts()
    patterns = [pattern + suffix for pattern in forbidden["source_modules"] for suffix in ("", ".*")]
    planning = [name for name in sorted(modules) if any(fnmatchcase(name, pattern) for pattern in patterns)]
    assert planning
    code = f"import importlib, sys\nfor name in {planning}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) & set(forbidden["forbidden_modules"]) == set()


def test_commands_of_the_documentation_exist() -> None:
    """Every ``hbcoop`` command that a page or a campaign quotes exists, and has the options that are quoted with it."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "store" / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in (*pages, *(ROOT / "campaigns").glob("*.yaml")))
    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    checked = 0
    for quoted in re.findall(rf"\bhbcoop ((?:{'|'.join(root.commands)})\b[^`\n#;]*)", text):
        words, command = quoted.split(), root
        while isinstance(command, TyperGroup) and words and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word.split("=")[0] for word in words if word.startswith("-")} <= options | {"--help"}, quoted
        checked += 1
    assert checked > 50
