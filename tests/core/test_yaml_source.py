"""YAML 1.2 as files of campaigns use it: values by the core schema, errors with file, line and field."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from hbcoop_dist.core.yaml_source import YamlError, dump_yaml, place_of, read_mapping, read_model

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Minimize(BaseModel):
    model_config = ConfigDict(extra="forbid")
    max_force: float = Field(default=1e-5, gt=0)


class Spec(BaseModel):
    model_config = ConfigDict(extra="forbid")
    campaign: str
    models: tuple[str, ...] = ()
    minimize: Minimize = Minimize()


def _write(folder: Path, text: str) -> Path:
    path = folder / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _message(folder: Path, text: str) -> str:
    with pytest.raises(YamlError) as raised:
        read_model(_write(folder, text), Spec)
    return str(raised.value).removeprefix(str(folder / "spec.yaml"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # no numbers in base 60: a walltime, a range of jobs, a ratio
        ("12:30:00", "12:30:00"),
        ("2:10", "2:10"),
        ("0:20", "0:20"),
        # numbers without a point
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        ("-1e+3", -1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("+.inf", math.inf),
        # integers: decimal with zeros in front, octal and hexadecimal as YAML 1.2 writes them, nothing else
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-7", -7),
        ("1_000", "1_000"),
        ("0b101", "0b101"),
        # three spellings of each truth value; other words are text
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        # dates and times are text
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        ("null", None),
        ("~", None),
        ("", None),
        # quotes and tags decide
        ("'12'", "12"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("!!float 1", 1.0),
        ("=", "="),
    ],
)
def test_scalars_follow_the_core_schema(tmp_path: Path, text: str, value: object) -> None:
    content = read_mapping(_write(tmp_path, f"field: {text}\nlist: [{text}]\n")).content
    assert content["field"] == value
    assert type(content["field"]) is type(value)


def test_a_directive_of_yaml_1_1_changes_no_value(tmp_path: Path) -> None:
    assert read_mapping(_write(tmp_path, "%YAML 1.1\n---\na: on\nb: 12:30\n")).content == {"a": "on", "b": "12:30"}


def test_keys_are_read_like_values(tmp_path: Path) -> None:
    content = read_mapping(_write(tmp_path, "on: 1\ncharges: {1: 0.5, O: -1}\n")).content
    assert content == {"on": 1, "charges": {1: 0.5, "O": -1}}


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xef\xbb\xbfcampaign: x\n")
    assert read_mapping(path).content == {"campaign": "x"}


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    text = """\
base: &base {device: cpu, threads: 2}
gpu: &gpu {device: cuda, memory: 8GB}
copy: *base
own: {threads: 4, <<: *base}
both:
  <<: [*gpu, *base]
  memory: 16GB
quoted: {'<<': text}
"""
    source = read_mapping(_write(tmp_path, text))
    assert source.content["copy"] == {"device": "cpu", "threads": 2}
    assert source.content["own"] == {"device": "cpu", "threads": 4}
    assert source.content["both"] == {"device": "cuda", "threads": 2, "memory": "16GB"}
    assert source.content["quoted"] == {"<<": "text"}
    # a merged value stands where it was written
    assert source.place_of("both", "memory").endswith(":7: field both.memory")
    assert source.place_of("both", "threads").endswith(":1: field both.threads")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("campaign: x\ncampaign: y\n", ":2: field campaign: expected it once, found it on line 1 too"),
        (
            "campaign: x\nminimize:\n  max_force: 1\n  max_force: 2\n",
            ":4: field minimize.max_force: expected it once, found it on line 3 too",
        ),
        ("campaign: x\nmodels: [{a: 1, a: 1}]\n", ":2: field models[0].a: expected it once, found it on line 2 too"),
        ("campaign: x\n'campaign': y\n", ":2: field campaign: expected it once, found it on line 1 too"),
        ("campaign: x\nminimize: {<<: 3}\n", ":2: field minimize.<<: expected a mapping, found 3"),
        (
            "campaign: x\nmodels: &a [*a]\n",
            ":2: field models[0]: expected values without a loop, found an alias inside its own anchor",
        ),
        ("campaign: *x\n", ":1: expected YAML; found undefined alias 'x'"),
        ("campaign: !!int x\n", ":1: field campaign: expected a value of type int, found 'x'"),
        (
            "campaign: !!python/object:os.system {}\n",
            ":1: field campaign: expected text, numbers, lists and mappings, found tag "
            "tag:yaml.org,2002:python/object:os.system",
        ),
        ("campaign: x\nmodels: [x\n", ":3: expected YAML; expected ',' or ']', but got '<stream end>'"),
        ("campaign: x\n---\ncampaign: y\n", ":2: expected YAML; found another document"),
        ("campaign: x\nmodels: a: b\n", ":2: expected YAML; mapping values are not allowed here"),
        ("campaign: x\nmodels: \x01\n", ":2: expected YAML; found control character 0x01"),
        ("campaign: x\n\tmodels: y\n", ":2: expected YAML; found character '\\t' that cannot start any token"),
        ("- campaign: x\n", ":1: expected a mapping of fields, found list"),
        ("", ":1: expected a mapping of fields, found NoneType"),
        ("1: x\n", ":1: expected the name of a field, found 1"),
        ("[a, b]: x\n", ":1: expected a key of text or a number, found a list or a mapping"),
        ("campaign: " + "[" * 3000 + "\n", ": expected a few levels, found brackets nested too deep"),
        # what the model refuses
        ("models: [a]\n", ":1: field campaign: expected a value, found none"),
        ("campaign: x\nmodels:\n- a\n- 3\n", ":4: field models[1]: expected a valid string, found 3"),
        ("campaign: 12\n", ":1: field campaign: expected a valid string, found 12"),
        ("campaign: x\ncolour: red\n", ":2: field colour: unknown field; expected campaign, models, minimize"),
        (
            "campaign: x\nminimize:\n  force: 1\n",
            ":3: field minimize.force: unknown field; expected only the documented fields",
        ),
        (
            "campaign: x\nminimize: {max_force: -1e-5}\n",
            ":2: field minimize.max_force: expected greater than 0, found -1e-05",
        ),
    ],
)
def test_errors_name_file_line_field_expected_and_found(tmp_path: Path, text: str, message: str) -> None:
    assert _message(tmp_path, text) == message


def test_every_invalid_field_has_a_line(tmp_path: Path) -> None:
    lines = _message(tmp_path, "campaign: 1\nmodels: [1]\ncolour: red\n").splitlines()
    assert [line.rpartition("spec.yaml")[2].split(":")[1] for line in lines] == ["1", "2", "3"]


def test_long_values_are_cut(tmp_path: Path) -> None:
    # every alias doubles the value
    rows = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)), "campaign: *a39"]
    assert len(_message(tmp_path, "\n".join(rows))) < 20000
    assert len(_message(tmp_path, f"campaign: {'9' * 6000}\n")) < 300


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes("campaign: Säure".encode("latin-1"))
    with pytest.raises(YamlError, match=r"spec\.yaml: expected text in UTF-8, found byte 0xe4"):
        read_mapping(path)


def test_place_of_a_field(tmp_path: Path) -> None:
    path = _write(tmp_path, "campaign: x\n\n# comment\nmodels:\n  - a\n  - name: b\n    family: toy\n")
    assert place_of(path, "models") == f"{path}:4: field models"
    assert place_of(path, "models", 1, "family") == f"{path}:7: field models[1].family"
    assert place_of(path, "models", 1, "dtype") == f"{path}:6: field models[1].dtype"
    assert place_of(path, "geometry") == f"{path}:1: field geometry"


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | st.text(max_size=30)
    | st.sampled_from(["1e-5", "010", "12:30", "on", "~", "null", "<<", "", " x", "a: b", "# c", "- d", "'", "*a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@FUZZ
@given(content=st.dictionaries(st.text(max_size=8), PLAIN, max_size=5))
@example(content={"<<": None})
@example(content={"<<": [], "a": "<<"})
def test_what_is_written_is_read_back(tmp_path: Path, content: dict[str, Any]) -> None:
    assert read_mapping(_write(tmp_path, dump_yaml(content))).content == content


def test_a_document_keeps_the_order_of_keys_and_is_in_block_style() -> None:
    assert dump_yaml({"b": 1e-5, "a": (1, None)}) == "b: 1e-05\na:\n- 1\n- null\n"


@FUZZ
@given(text=st.text(st.sampled_from("ab1.:-~!&*<>|[]{}#'\"\\%@?,= \t\nU0x"), max_size=40) | st.text(max_size=40))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    path = _write(tmp_path, text)
    with contextlib.suppress(YamlError):
        assert isinstance(read_mapping(path).content, dict)
