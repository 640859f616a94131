"""A console in which names and addresses stay whole."""

from __future__ import annotations

from rich.console import Console

PIPED_WIDTH = 200


def wide_console(*, stderr: bool = False) -> Console:
    """As wide as the terminal; where there is none, wide enough."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(width=PIPED_WIDTH, stderr=stderr)
