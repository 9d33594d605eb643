"""``antiphon store``: look into stores, change them, copy between them, watch them."""

from __future__ import annotations

import click

from antiphon.cli.store_copying import cp
from antiphon.cli.store_reading import get, ls
from antiphon.cli.store_watching import watch
from antiphon.cli.store_writing import rm, set_


@click.group(short_help="Look into stores, change them, copy them, watch them.")
def store() -> None:
    """Look into stores, change them, copy between them, and watch them change.

    STORE is a URL:

    \b
      sqlite:///var/lib/app/prices.db             a sqlite file
      file:///srv/prices                          a directory that is a store
      redis://localhost/0?namespace=prices        a namespace in Redis
      dynamic+https://host/stores/prices          a store server
      static+https://host/prices                  an index and files on a web server

    or env:NAME, for the URL in the environment variable NAME, or in the file that NAME_FILE names:
    then a password in it is in no list of processes.

    A key is any text.  Data are bytes, metadata are named values beside them.
    """


for command in (get, set_, ls, cp, rm, watch):
    store.add_command(command)
