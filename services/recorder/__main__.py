"""``python -m services.recorder [SETTINGS.toml]``."""

from __future__ import annotations

import sys

from services.recorder.service import RecorderService
from services.recorder.settings import RecorderSettings
from services.skeleton import run

if __name__ == "__main__":
    sys.exit(run("recorder", RecorderSettings, RecorderService, sys.argv[1:]))
