"""RabbitMQ from the programs of this machine, shared with nobody.

Own data folder, home, Erlang cookie, node name, port mapper and loopback ports, so
that it neither sees nor disturbs a RabbitMQ that runs here already.  It is a real
broker with its defaults; what is cut from its start: plugins, the log files, and an
extra Erlang that RabbitMQ starts only in order to start the port mapper.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
import subprocess
from pathlib import Path

from antiphon.errors import ServersUnavailable
from antiphon.testing.servers import programs
from antiphon.testing.servers.kept import free_ports
from antiphon.testing.servers.private import PrivateServer
from antiphon.testing.servers.rabbitmq_base import RabbitMQ, TLSFiles

_CONTROL_SCRIPT = Path(__file__).with_name("control.erl")

_CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
log.file = false
log.console = true
log.console.level = info
# A temporary folder may be on a small disk, and an alarm would block publishers.
disk_free_limit.absolute = 20MB
"""

#: With TLS: whoever shows a certificate of the authority may come in by its common name.
_TLS_CONFIGURATION = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {cafile}
ssl_options.certfile = {certfile}
ssl_options.keyfile = {keyfile}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
ssl_cert_login_from = common_name
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = EXTERNAL
"""

#: Seconds for one expression on the control socket, and for one rabbitmqctl.
_CONTROL_TIMEOUT_S = 30.0
_RABBITMQCTL_TIMEOUT_S = 60.0


class PrivateRabbitMQ(PrivateServer, RabbitMQ):
    """A broker of its own for this process; see :class:`Server` for what it can do.

    Args:
        scripts: folder of RabbitMQ's own scripts (:func:`programs.find_rabbitmq`).
        tls: for a listener that speaks TLS, beside the plain one.

    Raises:
        ServersUnavailable: a process could not be started.
    """

    process = "rabbitmq"

    def __init__(self, scripts: Path, tls: TLSFiles | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._port, self._epmd_port, self._distribution_port, self._tls_port = free_ports(4)
        self._node = f"antiphon-{secrets.token_hex(4)}@localhost"
        super().__init__()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self._port}"

    @property
    def tls_url(self) -> str:
        if self._tls is None:
            return super().tls_url
        return f"amqps://guest:guest@localhost:{self._tls_port}"

    def _prepare(self) -> None:
        folder = self.folder
        for name in ("home", "data", "conf.d"):
            (folder / name).mkdir(mode=0o700)
        cookie = folder / "home" / ".erlang.cookie"
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        (folder / "rabbitmq.conf").write_text(self._configuration())
        plugins = "" if self._tls is None else "rabbitmq_auth_mechanism_ssl"
        (folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        epmd = programs.find_epmd() or "epmd"
        argv = [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"]
        self._keeper.start("epmd", argv, self._environment())

    def _configuration(self) -> str:
        text = _CONFIGURATION.format(port=self._port)
        if self._tls is None:
            return text
        tls = self._tls
        return text + _TLS_CONFIGURATION.format(
            port=self._tls_port, cafile=tls.cafile, certfile=tls.certfile, keyfile=tls.keyfile
        )

    def start(self) -> None:
        # A broker that was killed leaves its socket behind, and Erlang does not replace it.
        (self.folder / "control").unlink(missing_ok=True)
        script = str(self._scripts / "rabbitmq-server")
        self._keeper.start("rabbitmq", [script], self._environment())

    def _environment(self) -> dict[str, str]:
        """The whole environment: RABBITMQ_* of the user must not reach this broker."""
        folder = self.folder
        distribution = str(self._distribution_port)
        erlang = [
            # Starting Erlang's distribution here saves RabbitMQ the start of a second
            # Erlang, which it would need for the port mapper (ours runs already).
            *("-sname", self._node, "-start_epmd", "false", "-noinput"),
            *("-kernel", "inet_dist_listen_min", distribution),
            *("-kernel", "inet_dist_listen_max", distribution),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
        ]
        return {
            "PATH": programs.search_path(),
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",
            "ERL_AFLAGS": """-eval 'file:eval(os:getenv("ANTIPHON_CONTROL_SCRIPT")).'""",
            "ANTIPHON_CONTROL_SCRIPT": str(_CONTROL_SCRIPT),
            "ANTIPHON_CONTROL": str(folder / "control"),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": distribution,
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "data"),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": " ".join(erlang),
            # With this the script becomes Erlang (exec) in place of watching over it,
            # so that our signals reach the broker itself.
            "RABBITMQ_ALLOW_INPUT": "1",
        }

    def rabbitmqctl(self, *args: str) -> str:
        # Every rabbitmqctl is an Erlang node of its own and wants a port for itself.
        port = str(free_ports(1)[0])
        env = self._environment() | {
            "RABBITMQ_CTL_DIST_PORT_MIN": port,
            "RABBITMQ_CTL_DIST_PORT_MAX": port,
        }
        for name in ("ERL_AFLAGS", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"):
            del env[name]
        argv = [str(self._scripts / "rabbitmqctl"), "--node", self._node, *args]
        try:
            done = subprocess.run(  # noqa: S603
                argv,
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_RABBITMQCTL_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise ServersUnavailable(f"rabbitmqctl {' '.join(args)}: {exc}") from exc
        if done.returncode:
            raise ServersUnavailable(
                f"rabbitmqctl {' '.join(args)} failed: {(done.stderr or done.stdout).strip()}"
            )
        return done.stdout

    def evaluate(self, expression: str) -> str:
        """Evaluate an Erlang expression in the broker, and return its value as text.

        Args:
            expression: one or several expressions that end with a full stop.

        Raises:
            ServersUnavailable: the broker does not run, or the expression failed.
        """
        message = expression.encode()
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_CONTROL_TIMEOUT_S)
                sock.connect(os.fspath(self.folder / "control"))
                sock.sendall(struct.pack(">I", len(message)) + message)
                size = struct.unpack(">I", _receive(sock, 4))[0]
                answer = _receive(sock, size).decode()
        except OSError as exc:
            raise ServersUnavailable(f"the private RabbitMQ does not answer: {exc}") from exc
        verdict, _, value = answer.partition(" ")
        if verdict != "ok":
            raise ServersUnavailable(f"RabbitMQ could not evaluate {expression!r}: {value}")
        return value

    def _make_vhost(self, name: str) -> None:
        binary = f'<<"{name}">>'
        self.evaluate(
            f'ok = rabbit_vhost:add({binary}, <<"antiphon">>), '
            f'ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, {binary}, '
            '<<".*">>, <<".*">>, <<".*">>, <<"antiphon">>).'
        )

    def _drop_vhost(self, name: str) -> None:
        self.evaluate(f'rabbit_vhost:delete(<<"{name}">>, <<"antiphon">>).')


def _receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise ConnectionResetError("it closed the connection")
        data += piece
    return data
