"""Asks a service on this machine whether it is ready: status 0 if so, else 1.

For containers' health checks: ``python -m services.healthcheck [URL]``.  Without an
argument it asks ``/readyz`` on the port of ANTIPHON_HTTP_PORT (or in the file that
ANTIPHON_HTTP_PORT_FILE names), 8080 if there is none.  It imports the standard library
only: it runs every few seconds.
"""

from __future__ import annotations

import contextlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

#: Seconds to wait for the answer.
_TIMEOUT_S = 4.0


def main(argv: list[str]) -> int:
    """Ask, print the answer, and return the exit status."""
    url = argv[0] if argv else f"http://127.0.0.1:{_port()}/readyz"
    if not url.startswith(("http://", "https://")):
        sys.stderr.write(f"healthcheck: {url!r} is no http URL\n")
        return 1
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            sys.stdout.write(answer.read().decode() + "\n")
            return 0
    except urllib.error.HTTPError as exc:
        # The body says what is not ready.
        with exc:
            sys.stdout.write(exc.read().decode(errors="replace") + "\n")
    except OSError as exc:
        reason = getattr(exc, "reason", exc)  # a URLError has the one that says more
        sys.stdout.write(f"{url}: nobody answers: {getattr(reason, 'strerror', None) or reason}\n")
    return 1


def _port() -> str:
    if path := os.environ.get("ANTIPHON_HTTP_PORT_FILE"):
        with contextlib.suppress(OSError, ValueError):  # the service itself says what is wrong
            return Path(path).read_text(encoding="utf-8").strip()
    return os.environ.get("ANTIPHON_HTTP_PORT") or "8080"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
