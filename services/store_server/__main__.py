"""``python -m services.store_server [SETTINGS.toml]``."""

from __future__ import annotations

import sys

from services.skeleton import run
from services.store_server.service import StoreServer
from services.store_server.settings import StoreServerSettings

if __name__ == "__main__":
    sys.exit(run("store-server", StoreServerSettings, StoreServer, sys.argv[1:]))
