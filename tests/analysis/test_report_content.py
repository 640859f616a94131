"""Content of reports as data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hbcoop_dist.analysis.report_content import Table


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("energy", 1.005, "1.00"),
        ("energy", -0.001, "0.00"),
        ("energy", np.nan, ""),
        ("energy", np.float64(-2.0), "-2.00"),
        ("units", 11.0, "11"),
        ("count", 3, "3"),
        ("name", "so3lr", "so3lr"),
        ("name", None, ""),
    ],
)
def test_values_have_the_digits_of_their_column(column: str, value: object, text: str) -> None:
    table = Table("x", "X", "", pd.DataFrame(), column_digits={"units": 0})
    assert table.format(column, value) == text
