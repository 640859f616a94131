"""Find the campaigns, cluster profiles and templates that come with the package.

A wheel holds them as package data; an editable install reads the folders of the checkout.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def bundled_folder(name: str) -> Path:
    """Folder of bundled files.

    Parameters
    ----------
    name : {"campaigns", "cluster_profiles", "templates"}

    Returns
    -------
    Path
    """
    in_wheel = _PACKAGE / "_data" / name
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / name


def bundled_names(folder: str) -> list[str]:
    """Names of the bundled YAML files of a folder.

    Parameters
    ----------
    folder : {"campaigns", "cluster_profiles"}

    Returns
    -------
    list of str
        File names without ``.yaml``, sorted.
    """
    return sorted(path.stem for path in bundled_folder(folder).glob("*.yaml"))


def find_file(name: str | Path, folder: str) -> Path:
    """Path of a file that is given by its path or by the name of a bundled one.

    Parameters
    ----------
    name : str or Path
        An existing file, which takes precedence, or a bundled name such as ``quickstart``.
    folder : {"campaigns", "cluster_profiles"}
        Where to look for a bundled name.

    Returns
    -------
    Path

    Raises
    ------
    FileNotFoundError
        When `name` is neither; the message lists the bundled names.
    """
    path = Path(name)
    if path.is_file():
        return path
    bundled = bundled_folder(folder) / f"{name}.yaml"
    if path.suffix == "" and bundled.is_file():
        return bundled
    names = ", ".join(bundled_names(folder)) or "none"
    raise FileNotFoundError(f"{name}: expected a file, or the name of a bundled one ({names})")
