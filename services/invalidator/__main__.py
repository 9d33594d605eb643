"""``python -m services.invalidator [SETTINGS.toml]``."""

from __future__ import annotations

import sys

from services.invalidator.service import Invalidator
from services.invalidator.settings import InvalidatorSettings
from services.skeleton import run

if __name__ == "__main__":
    sys.exit(run("invalidator", InvalidatorSettings, Invalidator, sys.argv[1:]))
