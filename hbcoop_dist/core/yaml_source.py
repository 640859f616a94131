"""Read YAML 1.2 files into plain values and pydantic models, with errors that name file, line and field; write YAML.

Scalars follow the core schema of YAML 1.2.2 (section 10.3, https://yaml.org/spec/1.2.2/): ``1e-5`` is a number, ``010``
is ten, and ``12:30:00``, ``2026-01-01``, ``on`` and ``yes`` are text. Duplicate keys are errors. Anchors, aliases and
the merge key ``<<`` work.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import BaseResolver

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

ModelT = TypeVar("ModelT", bound=BaseModel)

_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"
_TOO_DEEP = "expected a few levels, found brackets nested too deep"
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
)


class YamlError(ValueError):
    """A YAML file that cannot be used; the message has one line per problem."""


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """Content of a YAML file whose top level is a mapping.

    Attributes
    ----------
    path : Path
        The file.
    content : dict
        Values by field: ``str``, ``int``, ``float``, ``bool``, ``None``, and lists and dicts of these.
    root : ruamel.yaml.nodes.MappingNode
        The same content as nodes, which hold the line numbers.
    """

    path: Path
    content: dict[str, object]
    root: MappingNode

    def place_of(self, *location: str | int) -> str:
        """File, line and dotted name of a field.

        Parameters
        ----------
        *location : str or int
            Keys and list indices from the top level down. A field that the file does not have is placed at the
            innermost mapping around it.

        Returns
        -------
        str
            For example ``spec.yaml:4: field minimize.max_force``: the beginning of an error message.
        """
        line, field, _ = _locate(self, location)
        return f"{self.path}:{line}: field {field}"


def read_mapping(path: Path) -> YamlMapping:
    """Read a YAML file whose top level is a mapping of field names to values.

    Parameters
    ----------
    path : Path
        A file in UTF-8.

    Returns
    -------
    YamlMapping

    Raises
    ------
    YamlError
        When the file is not YAML in UTF-8, has a key twice, or has no mapping at its top level.
    OSError
        When the file cannot be read.
    """
    node = _root_node(path)
    values = _Values(path)
    try:
        content = values.value(node) if node is not None else None
    except RecursionError:
        raise YamlError(f"{path}: {_TOO_DEEP}") from None
    if not isinstance(node, MappingNode) or not isinstance(content, dict):
        raise YamlError(f"{path}:1: expected a mapping of fields, found {type(content).__name__}")
    for key, _ in node.value:
        if not isinstance(name := values.value(key), str):
            raise YamlError(f"{path}:{_line(key)}: expected the name of a field, found {name!r}")
    return YamlMapping(path, content, node)


def read_model(path: Path, model: type[ModelT]) -> ModelT:
    """Read a YAML file and validate its content.

    Parameters
    ----------
    path : Path
        A file in UTF-8.
    model : type of pydantic.BaseModel
        The model of the file's top level.

    Returns
    -------
    model
        An instance of `model`.

    Raises
    ------
    YamlError
        When the file is not YAML, or a field is missing, unknown or invalid.
    OSError
        When the file cannot be read.
    """
    source = read_mapping(path)
    try:
        return model.model_validate(source.content)
    except ValidationError as error:
        # pydantic also reports a list whose only item is invalid as too short
        problems = [problem for problem in error.errors() if problem["type"] != "too_short"] or error.errors()
        fields = tuple(model.model_fields)
        raise YamlError("\n".join(_field_error(source, problem, fields) for problem in problems)) from None


def place_of(path: Path, *location: str | int) -> str:
    """File, line and dotted name of a field of a YAML file; see `YamlMapping.place_of`.

    Parameters
    ----------
    path : Path
        A file that `read_mapping` accepts.
    *location : str or int
        Keys and list indices from the top level down.

    Returns
    -------
    str

    Raises
    ------
    YamlError
        When the file is not YAML.
    OSError
        When the file cannot be read.
    """
    return read_mapping(path).place_of(*location)


def dump_yaml(content: object, *, width: int = 100) -> str:
    """Write plain values as YAML in block style; `read_mapping` reads a mapping back unchanged.

    Parameters
    ----------
    content : object
        Mappings, lists, tuples (written as lists), strings, numbers, booleans and None; keys keep their order.
    width : int
        Column at which long text is folded.

    Returns
    -------
    str
        The document, with a line break at its end.
    """
    yaml = _yaml()
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.width = width
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # declared as None
    yaml.representer.ignore_aliases = lambda _: True
    stream = io.StringIO()
    yaml.dump(content, stream)
    return stream.getvalue().removesuffix("...\n")


def _root_node(path: Path) -> Node | None:
    """The document of a file as nodes; None when the file is empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        node: Node | None = _yaml().compose(text)
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: expected text in UTF-8, found byte {error.object[error.start]:#04x}") from None
    except RecursionError:
        raise YamlError(f"{path}: {_TOO_DEEP}") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise YamlError(f"{path}{line}: expected YAML; {str(error.problem).removeprefix('but ')}") from None
    except ReaderError as error:
        line = f":{text.count(chr(10), 0, error.position) + 1}"
        raise YamlError(f"{path}{line}: expected YAML; found control character {error.character:#04x}") from None
    except (YAMLError, ValueError):  # the scanner passes escapes such as "\U00ffffff" to chr()
        raise YamlError(f"{path}: expected YAML; found a character or a directive that is none") from None
    return node


class _CoreResolver(BaseResolver):
    """Resolves plain scalars by the core schema of YAML 1.2.2 alone, whatever a %YAML directive declares."""

    processing_version = (1, 2)

    def __init__(self, version: object = None, loader: YAML | None = None, loadumper: YAML | None = None) -> None:
        super().__init__(loadumper if loader is None else loader)


class _Representer(SafeRepresenter):
    """Quotes text that would otherwise be read back as something else."""

    def represent_str(self, data: str) -> ScalarNode:
        # a key << that is not quoted would merge its value
        style = '"' if data == _MERGE or re.search(r"[\x85\u2028\u2029\r]", data) else None
        return self.represent_scalar(f"{_TAG}str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)

for _name, _pattern, _first in _CORE_SCHEMA:
    _CoreResolver.add_implicit_resolver_base(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _CoreResolver
    return yaml


def _integer(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    return int(text.removeprefix("0o"), base)


def _float(text: str) -> float:
    return math.nan if text.lower() == ".nan" else float(text.lower().replace(".inf", "inf"))


_SCALARS: Mapping[str, Callable[[str], str | int | float | bool | None]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": _float,
    "str": str,
}


class _Values:
    """Converts the nodes of one file to values and merges ``<<`` into the nodes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[int, object] = {}
        self._open: set[int] = set()

    def value(self, node: Node, field: str = "") -> object:
        """Value of a node; an aliased node is converted once."""
        if id(node) in self._open:
            raise self._error(node, field, "values without a loop", "an alias inside its own anchor")
        if id(node) not in self._values:
            self._open.add(id(node))
            self._values[id(node)] = self._converted(node, field)
            self._open.discard(id(node))
        return self._values[id(node)]

    def _converted(self, node: Node, field: str) -> object:
        kind = str(node.tag).removeprefix(_TAG)
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, field)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.value(item, _joined(field, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and kind in _SCALARS:
            try:
                return _SCALARS[kind](node.value)
            except ValueError:
                raise self._error(node, field, f"a value of type {kind}", _shown(node.value)) from None
        raise self._error(node, field, "text, numbers, lists and mappings", f"tag {node.tag}")

    def _mapping(self, node: MappingNode, field: str) -> dict[Hashable, object]:
        lines: dict[Hashable, int] = {}
        merged: dict[Hashable, tuple[Node, Node]] = {}
        own: dict[Hashable, tuple[Node, Node]] = {}
        for key, item in node.value:
            name = self.value(key)
            if not isinstance(name, Hashable):
                raise self._error(key, field, "a key of text or a number", "a list or a mapping")
            if name in lines:
                raise self._error(key, _joined(field, name), "it once", f"it on line {lines[name]} too")
            lines[name] = _line(key)
            if name == _MERGE and key.style is None:
                merged |= self._parents(item, _joined(field, name))
            else:
                own[name] = (key, item)
        pairs = merged | own
        node.value = list(pairs.values())
        return {name: self.value(item, _joined(field, name)) for name, (_, item) in pairs.items()}

    def _parents(self, node: Node, field: str) -> dict[Hashable, tuple[Node, Node]]:
        """Pairs of the mappings that a merge key names; the first mapping with a key wins."""
        pairs: dict[Hashable, tuple[Node, Node]] = {}
        for parent in reversed(node.value if isinstance(node, SequenceNode) else [node]):
            content = self.value(parent, field)
            if not isinstance(content, dict):
                raise self._error(parent, field, "a mapping", _shown(content))
            pairs |= zip(content, parent.value, strict=True)
        return pairs

    def _error(self, node: Node, field: str, expected: str, found: str) -> YamlError:
        where = f" field {field}:" if field else ""
        return YamlError(f"{self._path}:{_line(node)}:{where} expected {expected}, found {found}")


def _joined(field: str, part: Hashable) -> str:
    """Dotted name of an item of a list (an integer) or of a field of a mapping."""
    return f"{field}[{part}]" if isinstance(part, int) else f"{field}.{part}".removeprefix(".")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _field_error(source: YamlMapping, problem: ErrorDetails, fields: tuple[str, ...]) -> str:
    """The message of one problem that pydantic reports."""
    location = [part for part in problem["loc"] if _is_step(part)]
    line, field, value = _locate(source, location)
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(fields) if len(location) == 1 else "only the documented fields"
        text = f"unknown field; expected {allowed}"
    elif problem["type"] == "missing":
        text = "expected a value, found none"
    elif "found" not in text:
        text = f"{text[0].lower()}{text[1:]}, found {_shown(value)}".replace("input should", "should").replace(
            "should be", "expected"
        )
    # a validator of the whole model names no field
    return f"{source.path}:{line}: field {field}: {text}" if field else f"{source.path}:{line}: {text}"


def _is_step(part: object) -> bool:
    # pydantic adds the names of its own validators to the location of wrapped fields
    return isinstance(part, int) or (isinstance(part, str) and "[" not in part and "(" not in part)


def _locate(source: YamlMapping, location: list[str | int] | tuple[str | int, ...]) -> tuple[int, str, object]:
    """Line (1-based), dotted name and value at a location, as deep as the file goes."""
    node: Node = source.root
    value: object = source.content
    line = _line(node)
    name = ""
    for part in location:
        name = _joined(name, part)
        if isinstance(node, MappingNode) and isinstance(value, dict):
            pair = next(((key, item) for key, item in node.value if key.value == str(part)), None)
            if pair is None:
                continue
            line, node = _line(pair[0]), pair[1]
            value = value.get(part, value)
        elif isinstance(node, SequenceNode) and isinstance(value, list) and isinstance(part, int) and part < len(value):
            node, value = node.value[part], value[part]
            line = _line(node)
    return line, name, value


_REPR = Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 8, 12, 120, 120, 60


def _shown(value: object) -> str:
    """``repr`` of a value, cut where it is long."""
    return _REPR.repr(value)
