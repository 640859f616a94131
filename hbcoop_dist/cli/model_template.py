"""The command `hbcoop models new`: copy the template of a distribution that adds a model, under the model's name.

The template is a working distribution of a model called ``my-model``, without placeholders.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from hbcoop_dist.core.resources import bundled_folder
from hbcoop_dist.models import registry
from hbcoop_dist.models.base import ModelError

_MODEL, _MODULE = "my-model", "my_model"
# Names of distributions that pip accepts, without those that start with a digit, as no module's name can.
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class NewModel:
    """A distribution copied from the template.

    Attributes
    ----------
    name : str
        Name of its model.
    module : str
        Name of its module, which is that of the family too.
    folder : Path
    files : tuple of str
        Names of the files in the folder.
    """

    name: str
    module: str
    folder: Path
    files: tuple[str, ...]

    def __str__(self) -> str:
        # pip would look up a bare name in a registry. The path of Python makes sure that this environment is used.
        folder = shlex.quote(str(self.folder if self.folder.is_absolute() else f"./{self.folder}"))
        return (
            f"{self.folder}: {', '.join(self.files)}\n"
            f"install and check it:\n"
            f"  {shlex.quote(sys.executable)} -m pip install --editable {folder}\n"
            f"  hbcoop models check {self.name}\n"
            f"then replace the parts marked REPLACE"
        )


def new_model(name: str, folder: Path | None = None) -> NewModel:
    """Make a distribution with one model.

    Parameters
    ----------
    name : str
        Name of the model, e.g. ``my-model``, which makes a module ``my_model``.
    folder : Path, optional
        New or empty folder; one of the model's name in the working directory by default.

    Raises
    ------
    ModelError
        When the name cannot be made a name of a module or is in use, or the folder is not empty or cannot be written.
    """
    module = _module(name)
    target = Path(name) if folder is None else folder
    texts = {
        path.name.replace(_MODULE, module): _named(path.read_text(encoding="utf-8"), name, module)
        for path in sorted(bundled_folder("templates").joinpath("model").iterdir())
        if path.is_file()  # pip writes __pycache__ beside every module that it installs
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        if present := sorted(path.name for path in target.iterdir()):
            raise ModelError(
                f"model {name}: expected {target} to be new or empty, found {', '.join(present[:3])} in it"
            )
        for file, text in texts.items():
            (target / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"model {name}: expected a folder {target} to write into, found {error}") from error
    return NewModel(name, module, target, tuple(texts))


def _named(text: str, name: str, module: str) -> str:
    # In one pass, since one name may contain the other.
    return re.sub(f"{_MODEL}|{_MODULE}", lambda match: name if match[0] == _MODEL else module, text)


def _module(name: str) -> str:
    module = re.sub(r"[.-]+", "_", name).lower()
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise ModelError(
            f"model {name}: expected letters, digits, '-', '_' and '.', a letter first, a letter or digit last, and no "
            f"keyword of Python after '-' and '.' are replaced by '_'"
        )
    if name in registry.cards():
        raise ModelError(f"model {name}: expected a new name, found a registered model of that name")
    if module in registry.family_names():
        raise ModelError(f"model {name}: expected a new name, found a family {module}")
    if importlib.util.find_spec(module) is not None:
        raise ModelError(f"model {name}: expected a new name, found a module {module} that is installed here")
    return module
