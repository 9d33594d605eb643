"""``python -m benchmarks.messaging``: all of them on one private broker, in under eight minutes.

What is given on the command line goes to each, such as ``--save``.  ``memory`` takes a
tenth of its events here; run it by itself for all of them.
"""

from __future__ import annotations

import subprocess
import sys

from benchmarks.messaging.report import private_broker

#: Each benchmark, its own arguments, and whether it may share the broker.
SCRIPTS = (
    ("throughput", (), True),
    ("latency", (), True),
    ("routing", (), True),
    ("emit_cost", (), False),
    ("memory", ("--events", "1000000"), False),
    ("wake", (), False),
)


def main() -> int:
    """Run all; return 0 if all of them ran."""
    failed = 0
    with private_broker() as broker:
        for name, arguments, may_share in SCRIPTS:
            print(f"== benchmarks.messaging.{name}", flush=True)
            url = ("--url", broker.url) if may_share else ()
            command = [sys.executable, "-m", f"benchmarks.messaging.{name}", *arguments]
            failed += subprocess.call([*command, *url, *sys.argv[1:]]) != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
