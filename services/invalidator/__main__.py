"""``python -m services.invalidator [SETTINGS.toml]``."""

from __future__ import annotations

import sys

from services.beginning import end_when_told, importing

if __name__ == "__main__":
    end_when_told()
    # Only now: they bring all of the libraries along.
    with importing("invalidator"):
        from services.invalidator.service import Invalidator
        from services.invalidator.settings import InvalidatorSettings
        from services.skeleton import run

    sys.exit(run("invalidator", InvalidatorSettings, Invalidator, sys.argv[1:]))
