"""``python -m benchmarks.stores``: all media, one after the other.

What is given on the command line goes to each, such as ``--keys 10000 --save``.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

#: One module each; those that need a server take its URL from the environment.
MEDIA = ("memory", "sqlite", "files", "redis", "http", "streaming")


def main() -> int:
    """Run all that are there; return 0 if all of them ran."""
    failed = 0
    for medium in MEDIA:
        module = f"benchmarks.stores.{medium}"
        if importlib.util.find_spec(module) is not None:
            print(f"== {module}", flush=True)
            failed += subprocess.call([sys.executable, "-m", module, *sys.argv[1:]]) != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
