"""``python -m benchmarks.caches``: all of them, one after the other.

What is given on the command line goes to each, such as ``--save``.
"""

from __future__ import annotations

import subprocess
import sys

#: One module each, quick ones first.
PARTS = ("cached_get", "ledgers", "invalidation", "rate", "restart", "bulk")


def main() -> int:
    """Run all; return 0 if all of them ran."""
    failed = 0
    for part in PARTS:
        module = f"benchmarks.caches.{part}"
        print(f"== {module}", flush=True)
        failed += subprocess.call([sys.executable, "-m", module, *sys.argv[1:]]) != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
