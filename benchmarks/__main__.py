"""``make bench``: all benchmarks, one after the other; each also runs by itself.

Results are kept as text beside each script; see the docstrings for how.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: The benchmarks, quick ones first.
SCRIPTS = (
    "codec/compare.py",
    "events/main.py",
    "redis_store/small_values.py",
    "messaging/latency.py",
)


def main() -> int:
    """Run all; return 0 if all of them ran."""
    failed = 0
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        failed += subprocess.call([sys.executable, Path(__file__).parent / script]) != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
