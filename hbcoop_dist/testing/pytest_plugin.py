"""Plug-in of pytest: contract suites explain their failures, and their marker is known in every test suite.

Installing hbcoop_dist registers it as the entry point ``hbcoop_dist`` of the group ``pytest11``. It imports nothing but
pytest, so that other people's test suites start as fast as before.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(
    *(
        f"hbcoop_dist.testing.{name}"
        for name in ("architectures", "clusters", "kinds", "learning_examples", "models", "schemes")
    )
)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of `ModelContract.slow`, for test suites with ``--strict-markers``."""
    config.addinivalue_line("markers", "slow: minutes, not seconds")
