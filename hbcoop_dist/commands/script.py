"""Run the `main` of a short script with what stands behind its name, so that each need not parse that itself."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable

from hbcoop_dist.store import StoreError


def run_script(main: Callable[..., None], words: str | None) -> None:
    """Call `main` with positional arguments named as its parameters, all optional.

    Parameters
    ----------
    main : callable
        Takes text, each parameter with a default.
    words : str, optional
        What ``--help`` says: the script's own docstring.

    Raises
    ------
    SystemExit
        With code 2 and the reason where a store cannot be read, or lacks what the script is about.
    """
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, parameter in inspect.signature(main).parameters.items():
        parser.add_argument(name, nargs="?", default=parameter.default, help=f"{parameter.default} when not given")
    asked = vars(parser.parse_args())
    try:
        main(**asked)
    except (StoreError, OSError) as error:
        parser.exit(2, f"{error}\n")
    except KeyError as error:
        # a label that the script selects and the store has not
        parser.exit(2, f"{asked.get('store')}: expected a store with {error} on an axis, found none\n")
