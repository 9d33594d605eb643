"""``python -m services.recorder [SETTINGS.toml]``."""

from __future__ import annotations

import sys

from services.beginning import end_when_told, importing

if __name__ == "__main__":
    end_when_told()
    # Only now: they bring all of the libraries along.
    with importing("recorder"):
        from services.recorder.service import RecorderService
        from services.recorder.settings import RecorderSettings
        from services.skeleton import run

    sys.exit(run("recorder", RecorderSettings, RecorderService, sys.argv[1:]))
