"""Redis from the program of this machine, shared with nobody."""

from __future__ import annotations

from antiphon.testing.servers.kept import free_ports
from antiphon.testing.servers.private import PrivateServer
from antiphon.testing.servers.programs import search_path
from antiphon.testing.servers.redis_base import Redis

#: Databases of a private server, so that each test can have one of its own.
PRIVATE_DATABASES = 256


class PrivateRedis(PrivateServer, Redis):
    """A Redis of its own for this process, with ``appendonly yes`` and ``noeviction``.

    Args:
        program: path of ``redis-server``.

    Raises:
        ServersUnavailable: the process could not be started.
    """

    process = "redis"
    databases = PRIVATE_DATABASES

    def __init__(self, program: str) -> None:
        self._program = program
        self._port = free_ports(1)[0]
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}/0"

    def _prepare(self) -> None:
        (self.folder / "data").mkdir(mode=0o700)

    def start(self) -> None:
        settings = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "dir": str(self.folder / "data"),
            "databases": str(self.databases),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        env = {"PATH": search_path(), "LANG": "C.UTF-8"}
        self._keeper.start("redis", [self._program, *options], env)
