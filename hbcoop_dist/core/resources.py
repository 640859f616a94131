"""Where bundled files live: package data in a wheel, the checkout's own folders in an editable install."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def bundled_folder(name: str) -> Path:
    """Folder of bundled files: ``campaigns``, ``cluster_profiles`` or ``templates``."""
    in_wheel = _PACKAGE / "_data" / name
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / name


def bundled_names(folder: str) -> list[str]:
    """Names (without .yaml) of the bundled files of a folder."""
    return sorted(path.stem for path in bundled_folder(folder).glob("*.yaml"))


def find_file(name: str | Path, folder: str) -> Path:
    """A path as given when it exists, otherwise the bundled file of that name.

    Raises
    ------
    FileNotFoundError
        Naming what was looked for and which bundled names there are.
    """
    path = Path(name)
    if path.is_file():
        return path
    bundled = bundled_folder(folder) / f"{name}.yaml"
    if path.suffix == "" and bundled.is_file():
        return bundled
    raise FileNotFoundError(
        f"{name}: expected a file, or the name of a bundled one ({', '.join(bundled_names(folder)) or 'none'})"
    )
