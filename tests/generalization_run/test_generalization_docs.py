"""docs/generalization.md says of the store what the schema says."""

from pathlib import Path

from hbcoop_dist.campaigns.generalization.schema import VARIABLES

DOCS = Path(__file__).parents[2] / "docs" / "generalization.md"


def test_every_variable_is_in_the_dictionary() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for name, variable in VARIABLES.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
        assert f"| {variable.dtype} | {variable.units} | {variable.long_name} |" in line
