"""``python -m benchmarks.archive``: all of them, one after the other.

What is given on the command line goes to each: ``--save``, ``--theia FOLDER``; and
``--archive FOLDER`` to the searches, which make archives of ten million events there
(ten minutes, 10 GB) or use those that are there.
"""

from __future__ import annotations

import subprocess
import sys

#: One module each, quick ones first.
PARTS = ("tailing", "saving", "recording", "searching")


def main() -> int:
    """Run all; return 0 if all of them ran."""
    given = sys.argv[1:]
    archive: list[str] = []
    if "--archive" in given:
        at = given.index("--archive")
        archive, given = given[at : at + 2], given[:at] + given[at + 2 :]
    failed = 0
    for part in PARTS:
        module = f"benchmarks.archive.{part}"
        print(f"== {module}", flush=True)
        more = archive if part == "searching" else []
        failed += subprocess.call([sys.executable, "-m", module, *given, *more]) != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
