"""What commands that talk to a broker share: where it is, and which system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

#: Environment variable with the URL of the broker.
URL_VARIABLE = "ANTIPHON_AMQP_URL"


def broker_options(command: F) -> F:
    """Add ``--url`` and ``--system`` to a command."""
    system = click.option(
        "--system", default="antiphon", show_default=True, metavar="NAME", help="The system."
    )
    url = click.option(
        "--url",
        envvar=URL_VARIABLE,
        metavar="URL",
        help="Where the broker is: amqp://user:password@host:5672/virtual-host.  Default: the "
        f"environment variable {URL_VARIABLE}.",
    )
    return url(system(command))


def given_url(url: str | None) -> str:
    """Return *url*; a wrong call if there is none."""
    if not url:
        raise click.UsageError(f"say where the broker is: --url, or {URL_VARIABLE}")
    return url


def examples(*lines: str) -> str:
    """Return *lines* for the end of a command's help, each as it is."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
