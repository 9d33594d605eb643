"""``python -m services.store_server [SETTINGS.toml]``."""

from __future__ import annotations

import sys

from services.beginning import end_when_told, importing

if __name__ == "__main__":
    end_when_told()
    # Only now: they bring all of the libraries along.
    with importing("store-server"):
        from services.skeleton import run
        from services.store_server.service import StoreServer
        from services.store_server.settings import StoreServerSettings

    sys.exit(run("store-server", StoreServerSettings, StoreServer, sys.argv[1:]))
