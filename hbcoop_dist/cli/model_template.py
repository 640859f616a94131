"""Copy the template of a distribution that adds a model, under the model's name: `hbcoop models new`.

The template is itself such a distribution, of a model called ``my-model``: nothing in it is a placeholder that only
this command could fill in.
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
# what pip takes as the name of a distribution, less names that start with a digit: no module's can
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class NewModel:
    """A distribution that was made.

    Attributes
    ----------
    name, module : str
        Of its model, and of the module that has it, which is the family too.
    folder : Path
    files : tuple of str
    """

    name: str
    module: str
    folder: Path
    files: tuple[str, ...]

    def __str__(self) -> str:
        # a bare name would be one of a registry's to pip; the Python is named because it has to be this one
        folder = shlex.quote(str(self.folder if self.folder.is_absolute() else f"./{self.folder}"))
        return (
            f"{self.folder}: {', '.join(self.files)}\n"
            f"install it, and see that it is right:\n"
            f"  {shlex.quote(sys.executable)} -m pip install --editable {folder}\n"
            f"  hbcoop models check {self.name}\n"
            f"then replace what is marked REPLACE"
        )


def new_model(name: str, folder: Path | None = None) -> NewModel:
    """Make a distribution with one model.

    Parameters
    ----------
    name : str
        Of the model, e.g. ``my-model``; the module is called ``my_model`` then.
    folder : Path, optional
        Where; a folder of the model's name, here, unless given. It may exist when it is empty.

    Raises
    ------
    ModelError
        When the name makes no name of a module or belongs to somebody else, the folder has something in it, or it
        cannot be written.
    """
    module = _module(name)
    target = Path(name) if folder is None else folder
    texts = {
        path.name.replace(_MODULE, module): _named(path.read_text(encoding="utf-8"), name, module)
        for path in sorted(bundled_folder("templates").joinpath("model").iterdir())
        if path.is_file()  # pip leaves __pycache__ beside every module it installs
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        if found := sorted(path.name for path in target.iterdir()):
            raise ModelError(f"model {name}: expected {target} to be new or empty, found {', '.join(found[:3])} in it")
        for file, text in texts.items():
            (target / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ModelError(f"model {name}: expected a folder {target} to write into, found {error}") from error
    return NewModel(name, module, target, tuple(texts))


def _named(text: str, name: str, module: str) -> str:
    # in one pass: a name may have the other one in it
    return re.sub(f"{_MODEL}|{_MODULE}", lambda found: name if found[0] == _MODEL else module, text)


def _module(name: str) -> str:
    module = re.sub(r"[.-]+", "_", name).lower()
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise ModelError(
            f"model {name}: expected letters, digits, '-', '_' and '.', a letter first, no mark last, and no word of "
            f"Python once each '-' and '.' is a '_'"
        )
    if name in registry.cards():
        raise ModelError(f"model {name}: expected a new name, found a registered model of that name")
    taken = {card.family for card in registry.cards().values()}.union(
        registry.BUILTIN_FAMILIES, registry.broken_families()
    )
    if module in taken:
        raise ModelError(f"model {name}: expected a new name, found a family {module}")
    if importlib.util.find_spec(module) is not None:
        raise ModelError(f"model {name}: expected a new name, found a module {module} that is installed here")
    return module
