"""Provenance of results: the time, and the versions of installed packages."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str | None:
    """Return the version of a package in this Python; None when it is not installed."""
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def package_versions(*names: str) -> str:
    """Return the versions of the packages that are installed here, as JSON."""
    versions = {name: found for name in names if (found := installed_version(name)) is not None}
    return json.dumps(versions, sort_keys=True)
