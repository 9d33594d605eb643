"""``python -m antiphon.testing.servers``: both servers until Ctrl-C, or for one command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers import AMQP_VARIABLE, REDIS_VARIABLE, Servers

_USAGE = """\
usage: python -m antiphon.testing.servers [COMMAND [ARGUMENT ...]]

Finds or starts RabbitMQ and Redis.  Without a command, prints the two lines that
tell other programs where they are, and stops them at Ctrl-C.  With one, runs it
with ANTIPHON_AMQP_URL and ANTIPHON_REDIS_URL set, and stops them when it ends.
"""


def main(argv: list[str]) -> int:
    """Run the command line *argv* (without the program); return the exit status."""
    if argv and argv[0] in ("-h", "--help"):
        sys.stdout.write(_USAGE)
        return 0
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with Servers() as servers:
            urls = {AMQP_VARIABLE: servers.amqp_url, REDIS_VARIABLE: servers.redis_url}
            if argv:
                return subprocess.call(argv, env=os.environ | urls)  # noqa: S603
            for name, url in urls.items():
                sys.stdout.write(f"export {name}='{url}'\n")
            sys.stdout.flush()
            sys.stderr.write("Ctrl-C stops them.\n")
            stop.wait()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
    except (ServersUnavailable, OSError) as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
