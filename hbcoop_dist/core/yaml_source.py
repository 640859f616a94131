"""Read a YAML file into a pydantic model; a complaint names file, line, field, what was expected and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class YamlError(ValueError):
    """A file that cannot be used; the message has one line per problem."""


def read_model(path: Path, model: type[Model]) -> Model:
    """The content of a file as a model.

    Raises
    ------
    YamlError
        When the file is not YAML, or a field is wrong.
    """
    node, content = _parse(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # a list whose only item is wrong is reported by pydantic as too short as well: once is enough
        problems = [p for p in error.errors() if p["type"] != "too_short"] or error.errors()
        known = tuple(model.model_fields)
        raise YamlError("\n".join(_message(path, node, content, problem, known) for problem in problems)) from None


def place_of(path: Path, field: str) -> str:
    """File, line and name of a field, as every complaint begins."""
    node, content = _parse(path)
    line, *_ = _locate(node, content, [field])
    return f"{path}:{line}: field {field}"


def _parse(path: Path) -> tuple[Any, dict[str, Any]]:
    """The YAML of a file as nodes (which know their lines) and as values."""
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise YamlError(f"{path}: expected text in UTF-8, found byte {error.object[error.start]:#04x}") from None
    except RecursionError:
        raise YamlError(f"{path}: expected a few levels, found brackets nested too deep") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = str(getattr(error, "problem", error)).removeprefix("found ")
        raise YamlError(f"{path}{line}: expected YAML, found {problem}") from None
    if not isinstance(content, dict):
        raise YamlError(f"{path}:1: expected a mapping of fields, found {type(content).__name__}")
    for mapping in _mappings(node):
        names = [key.value for key, _ in mapping.value]
        for key, _ in mapping.value:
            if names.count(key.value) > 1:
                line = key.start_mark.line + 1
                raise YamlError(
                    f"{path}:{line}: field {key.value}: expected it once, found it {names.count(key.value)} times"
                )
    return node, content


def _mappings(node: Any) -> Iterator[yaml.MappingNode]:
    if isinstance(node, yaml.MappingNode):
        yield node
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value)


def _message(path: Path, node: Any, content: Any, problem: Any, fields: tuple[str, ...]) -> str:
    location = [part for part in problem["loc"] if _is_step(part)]
    line, field, found = _locate(node, content, location)
    text = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = ", ".join(fields) if len(location) == 1 else "only the documented fields"
        text = f"unknown field; expected {known}"
    elif problem["type"] == "missing":
        return f"{path}:{line}: field {field}: expected a value, found none"
    elif "found" not in text:
        text = f"{text[0].lower()}{text[1:]}, found {found!r}".replace("input should", "should").replace(
            "should be", "expected"
        )
    # what is wrong with the whole is wrong with no field
    return f"{path}:{line}: field {field}: {text}" if field else f"{path}:{line}: {text}"


def _is_step(part: object) -> bool:
    # pydantic adds the names of its own validators to the location of wrapped fields
    return isinstance(part, int) or (isinstance(part, str) and "[" not in part and "(" not in part)


def _locate(node: Any, content: Any, location: list[Any]) -> tuple[int, str, Any]:
    """Line (1-based), dotted field name and value found at a location, as deep as the file goes."""
    line = node.start_mark.line + 1
    names: list[str] = []
    for part in location:
        names.append(f"[{part}]" if isinstance(part, int) else (f".{part}" if names else str(part)))
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
            if pair is None:
                continue
            line, node = pair[0].start_mark.line + 1, pair[1]
            content = content.get(part) if isinstance(content, dict) else content
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
            content = content[part] if isinstance(content, list) else content
    return line, "".join(names), content
