"""What commands that talk to a broker share: where it is, and which system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from antiphon.environment import AMQP_URL, broker_url, slip_hint
from antiphon.errors import InvalidURL

F = TypeVar("F", bound=Callable[..., Any])


def broker_options(command: F) -> F:
    """Add ``--url`` and ``--system`` to a command."""
    system = click.option(
        "--system", default="antiphon", show_default=True, metavar="NAME", help="The system."
    )
    url = click.option(
        "--url",
        metavar="URL",
        help="Where the broker is: amqp://user:password@host:5672/virtual-host.  Default: the "
        f"environment variable {AMQP_URL}.",
    )
    return url(system(command))


def given_url(url: str | None, how: str = "--url") -> str:
    """Return *url*, else that of the environment; a wrong call if there is none."""
    try:
        return broker_url(url or None)
    except InvalidURL:
        raise click.UsageError(
            f"say where the broker is: {how}, or {AMQP_URL}{slip_hint(AMQP_URL)}"
        ) from None


def examples(*lines: str) -> str:
    """Return *lines* for the end of a command's help, each as it is."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
