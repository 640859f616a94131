"""Architectures and schemes are found, and their options checked, without torch; other distributions add their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hbcoop_dist.learning.networks.hyperparameters import NetworkShape
from hbcoop_dist.learning.networks.registry import (
    ARCHITECTURES,
    SCHEMES,
    architecture_names,
    architecture_options,
    check_architecture,
    find_architecture,
    find_scheme,
    load_implementation,
    scheme_names,
    scheme_options,
)

SHAPE = NetworkShape(2, 16, 3, 6, 4.0, elements=(1, 8))

DECLARATIONS = """
from pydantic import Field
from hbcoop_dist.learning.networks.registry import ComponentOptions
from hbcoop_dist.learning.networks.registry import ArchitectureDeclaration, SchemeDeclaration

class WidthOptions(ComponentOptions):
    width: int = Field(default=8, ge=1)

SCHEME = SchemeDeclaration("absent_module:Scheme", WidthOptions)
ARCHITECTURE = ArchitectureDeclaration(
    "absent_module:build", ("absent_module",), ("theirs",), "MIT", "none", options=WidthOptions
)
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with an architecture and schemes, two of them broken."""
    (tmp_path / "their_declarations.py").write_text(DECLARATIONS)
    metadata = tmp_path / "theirs-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[hbcoop_dist.schemes]\ntheirs = their_declarations:SCHEME\nbroken = no_such_module:SCHEME\n"
        "wrong = their_declarations:ARCHITECTURE\n"
        "[hbcoop_dist.architectures]\ntheirs = their_declarations:ARCHITECTURE\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))


def test_options_are_checked_without_torch() -> None:
    code = (
        "import sys\n"
        "from hbcoop_dist.learning.networks.hyperparameters import NetworkShape\n"
        "from hbcoop_dist.learning.networks import registry\n"
        "shape = NetworkShape(2, 16, 3, 6, 4.0)\n"
        "for name in registry.scheme_names(): registry.scheme_options(name, {}, shape)\n"
        "for name in registry.architecture_names(): registry.check_architecture(name, {}, {})\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_defaults_that_depend_on_the_network_are_filled_in() -> None:
    celli = scheme_options("celli", {}, SHAPE).model_dump()
    assert (celli["layer"], celli["hidden"]) == (1, 16)
    efa = scheme_options("efa", {}, SHAPE).model_dump()
    assert (efa["layers"], efa["values"]) == ([0, 1, 2], 16)
    assert scheme_options("efa", {"layers": [2, 0, 2]}, SHAPE).model_dump()["layers"] == [0, 2]
    assert scheme_options("celli", {"hidden": 3}, SHAPE).model_dump()["hidden"] == 3


@pytest.mark.parametrize(
    ("scheme", "options", "message"),
    [
        ("celli", {"layer": 3}, "scheme celli: option layer: expected an integer from 0 to 2, found 3"),
        ("efa", {"layers": [3]}, "scheme efa: option layers: expected an integer from 0 to 2, found 3"),
        ("efa", {"layers": [-1]}, r"scheme efa: option layers\.0: expected greater than or equal to 0, found -1"),
        ("efa", {"max_frequency": 50.0}, "scheme efa: points on the sphere: .*: lower the frequency"),
        ("les", {"sigma": True}, "scheme les: option sigma: expected a valid number, found True"),
        ("none", {"a": 1}, "scheme none: expected options among none, found a"),
        ("ewald", {}, "scheme: expected one of none, charge-embedding, les, celli, efa, found 'ewald'"),
    ],
)
def test_invalid_schemes_are_named(scheme: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scheme_options(scheme, options, SHAPE)


@pytest.mark.usefixtures("distribution")
def test_other_distributions_declare_schemes_and_architectures() -> None:
    assert scheme_names() == (*SCHEMES, "broken", "theirs", "wrong")
    assert architecture_names() == (*ARCHITECTURES, "theirs")
    assert scheme_options("theirs", {"width": 3}, SHAPE).model_dump() == {"width": 3}
    with pytest.raises(ValueError, match="scheme theirs: option width: expected greater than or equal to 1, found 0"):
        scheme_options("theirs", {"width": 0})
    assert find_architecture("theirs").requires == ("absent_module",)
    assert architecture_options("theirs", {}).model_dump() == {"width": 8}
    with pytest.raises(ValueError, match="architecture theirs: expected options among width, found depth"):
        check_architecture("theirs", {}, {"depth": 1})
    with pytest.raises(ValueError, match=r"scheme broken: expected entry point no_such_module:SCHEME to be importable"):
        find_scheme("broken")
    with pytest.raises(ValueError, match=r"scheme wrong: expected their_declarations:ARCHITECTURE to be a SchemeDecl"):
        find_scheme("wrong")


def test_implementations_of_all_built_in_components_exist() -> None:
    for declaration in (*SCHEMES.values(), *ARCHITECTURES.values()):
        assert callable(load_implementation(declaration))
