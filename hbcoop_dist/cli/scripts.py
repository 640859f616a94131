"""Run the `main` of a short script with what stands behind its name, so that each need not parse that itself."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable

import xarray as xr

from hbcoop_dist.store import StoreError, open_store


def run_script(main: Callable[..., None], words: str | None) -> None:
    """Call `main` with positional arguments named as its parameters; those with a default are optional.

    Parameters
    ----------
    main : callable
        Takes text.
    words : str, optional
        What ``--help`` says: the script's own docstring.

    Raises
    ------
    SystemExit
        With code 2 and the reason where a store cannot be read, or lacks what the script is about.
    """
    parser = _parser(words)
    for name, parameter in inspect.signature(main).parameters.items():
        if parameter.default is parameter.empty:
            parser.add_argument(name)
        else:
            parser.add_argument(name, nargs="?", default=parameter.default, help=f"{parameter.default} when not given")
    asked = vars(parser.parse_args())
    try:
        main(**asked)
    except (StoreError, OSError) as error:
        parser.exit(2, f"{error}\n")
    except ValueError as error:
        parser.exit(2, f"{asked.get('store')}: {error}\n")
    except KeyError as error:
        # a label that the script selects and the store has not
        parser.exit(2, f"{asked.get('store')}: expected a store with {error} on an axis, found none\n")


def opened(words: str | None, default: str) -> xr.Dataset:
    """The store that a script without a `main` is about: one that an editor runs cell by cell, or the shell as a whole.

    Parameters
    ----------
    words : str, optional
        What ``--help`` says: the script's own docstring.
    default : str
        The store when none is given, as in a notebook, whose kernel has arguments that are none of the script's.

    Raises
    ------
    SystemExit
        With code 2 and the reason where the store cannot be read.
    """
    parser = _parser(words)
    parser.add_argument("store", nargs="?", default=default, help=f"{default} when not given")
    asked = parser.parse_args([] if "ipykernel" in sys.modules else None)
    try:
        return open_store(asked.store)
    except (StoreError, OSError) as error:
        parser.exit(2, f"{error}\n")


def _parser(words: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
