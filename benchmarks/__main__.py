"""``make bench``: all benchmarks, one after the other; each also runs by itself.

Results are kept as text beside each script; see the docstrings for how.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent

#: The benchmarks, quick ones first; a module is run as one.
SCRIPTS = (
    (str(HERE / "codec/compare.py"),),
    (str(HERE / "events/main.py"),),
    ("-m", "benchmarks.messaging"),
    ("-m", "benchmarks.stores"),
    ("-m", "benchmarks.caches"),
    ("-m", "benchmarks.archive"),
)


def main() -> int:
    """Run all; return 0 if all of them ran."""
    failed = 0
    for script in SCRIPTS:
        print(f"== {script[-1]}", flush=True)
        failed += subprocess.call([sys.executable, *script], cwd=HERE.parent) != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
