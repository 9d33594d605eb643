"""Networks that fail on request: a namespace with its own cable, or a proxy without rights."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import selectors
import shutil
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod

#: Programs that a namespace needs; and root.
_PROGRAMS = ("ip", "iptables", "tc")


class Network(ABC):
    """The way from some players to the broker.

    Attributes:
        prefix: what stands before the command of a process that is to live in it.
        address: where the broker must listen for it; None if anywhere will do.
    """

    prefix: tuple[str, ...] = ()
    address: str | None = None
    #: Command that removes what the end of this process would leave behind; empty for none.
    removal: tuple[str, ...] = ()

    @abstractmethod
    def url(self, port: int) -> str:
        """Return the broker's URL as its players see it; it listens on *port*."""

    @abstractmethod
    def silence(self) -> None:
        """Let nothing through; nobody is told."""

    @abstractmethod
    def reset(self) -> None:
        """Break each connection, and refuse new ones."""

    @abstractmethod
    def slow(self) -> None:
        """Delay and lose packets."""

    @abstractmethod
    def heal(self) -> None:
        """Be a network again; twice is fine."""

    @abstractmethod
    def close(self) -> None:
        """Leave nothing behind."""


def can_make_namespaces() -> bool:
    """Return whether this machine, and this user, can have network namespaces."""
    if os.geteuid() or not all(map(shutil.which, _PROGRAMS)):
        return False
    name = f"antiphon-{secrets.token_hex(3)}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode:
        return False
    enter = ["ip", "netns", "exec", name, "iptables", "-L"]
    works = subprocess.run(enter, capture_output=True, check=False).returncode == 0
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return works


class NamespaceNetwork(Network):
    """A network namespace, joined to this machine by a pair of virtual interfaces.

    Only the namespace's own rules are ever changed.
    """

    def __init__(self) -> None:
        word = secrets.token_hex(3)
        self.name = f"antiphon-{word}"
        self._inner, outer = f"ap{word}i", f"ap{word}o"
        base = f"10.{random.SystemRandom().randrange(128, 250)}.{secrets.randbelow(250)}"
        self.address, inner_address = f"{base}.1", f"{base}.2"
        self.prefix = ("ip", "netns", "exec", self.name)
        self.removal = ("ip", "netns", "del", self.name)
        _run("ip", "netns", "add", self.name)
        try:
            _run("ip", "link", "add", outer, "type", "veth", "peer", "name", self._inner)
            _run("ip", "link", "set", self._inner, "netns", self.name)
            _run("ip", "address", "add", f"{self.address}/30", "dev", outer)
            _run("ip", "link", "set", outer, "up")
            for words in (
                ("address", "add", f"{inner_address}/30", "dev", self._inner),
                ("link", "set", self._inner, "up"),
                ("link", "set", "lo", "up"),
            ):
                self._inside("ip", *words)
        except BaseException:
            self.close()
            raise

    def _inside(self, *words: str) -> None:
        _run(*self.prefix, *words)

    def url(self, port: int) -> str:
        return f"amqp://guest:guest@{self.address}:{port}?heartbeat=2"

    def silence(self) -> None:
        for chain in ("INPUT", "OUTPUT"):
            self._inside("iptables", "-A", chain, "-p", "tcp", "-j", "DROP")

    def reset(self) -> None:
        self._inside(
            *("iptables", "-A", "OUTPUT", "-p", "tcp", "-j", "REJECT"),
            *("--reject-with", "tcp-reset"),
        )

    def slow(self) -> None:
        try:
            self._inside(
                *("tc", "qdisc", "replace", "dev", self._inner, "root", "netem"),
                *("delay", "80ms", "40ms", "loss", "2%"),
            )
        except subprocess.CalledProcessError:
            # A kernel without netem, as in many containers: losses alone delay TCP, too.
            for chain in ("INPUT", "OUTPUT"):
                self._inside(
                    *("iptables", "-A", chain, "-p", "tcp", "-m", "statistic"),
                    *("--mode", "random", "--probability", "0.1", "-j", "DROP"),
                )

    def heal(self) -> None:
        self._inside("iptables", "-F")
        with contextlib.suppress(subprocess.CalledProcessError):  # there was none
            self._inside("tc", "qdisc", "del", "dev", self._inner, "root")

    def close(self) -> None:
        subprocess.run(self.removal, capture_output=True, check=False)


def _run(*words: str) -> None:
    subprocess.run(words, capture_output=True, check=True, timeout=20)


class ProxyNetwork(Network):
    """A TCP proxy on the loopback interface.

    What is sent during a silence arrives after it, as in a network that comes
    back; connections are accepted meanwhile, unlike there.
    """

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._port = self._server.getsockname()[1]
        self._target: tuple[str, int] | None = None
        self._state = "well"
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="chaos proxy")
        self._thread.start()

    def url(self, port: int) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.lead_to(port)}?heartbeat=2"

    def lead_to(self, port: int) -> int:
        """Lead to whatever listens on *port* of this machine; return where it is entered."""
        self._target = ("127.0.0.1", port)
        return self._port

    def silence(self) -> None:
        self._state = "silent"

    def reset(self) -> None:
        self._state = "reset"

    def slow(self) -> None:
        self._state = "slow"

    def heal(self) -> None:
        self._state = "well"

    def close(self) -> None:
        self._is_over = True
        self._thread.join()
        for sock in (self._server, *self._peers):
            sock.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._is_over:
            state = self._state
            if state == "silent":
                time.sleep(0.02)
                continue
            if state == "slow":
                time.sleep(random.uniform(0.04, 0.12))
            if state == "reset":
                for sock in tuple(self._peers):
                    self._drop(sock)
            for key, _ in self._selector.select(0.02):
                self._pass_on(key.fileobj, state)  # type: ignore[arg-type]

    def _pass_on(self, sock: socket.socket, state: str) -> None:
        if sock is self._server:
            self._accept(is_wanted=state != "reset")
            return
        data = b""
        if sock in self._peers:
            try:
                data = sock.recv(262_144)
                self._peers[sock].sendall(data)
            except OSError:
                data = b""  # a part may be lost: nothing may follow it
        if not data:
            self._drop(sock)

    def _accept(self, *, is_wanted: bool) -> None:
        near, _ = self._server.accept()
        far: socket.socket | None = None
        if is_wanted and self._target is not None:
            with contextlib.suppress(OSError):
                far = socket.create_connection(self._target, 2)
        if far is None:
            near.close()
            return
        for one, other in ((near, far), (far, near)):
            one.settimeout(5)  # a frozen broker must not stop the proxy for ever
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _drop(self, sock: socket.socket) -> None:
        if sock not in self._peers:
            return
        for one in (sock, self._peers[sock]):
            del self._peers[one]
            self._selector.unregister(one)
            one.close()


def make_networks(count: int) -> list[Network]:
    """Return *count* networks, the most real ones that are possible here."""
    kind: type[Network] = NamespaceNetwork if can_make_namespaces() else ProxyNetwork
    networks: list[Network] = []
    try:
        for _ in range(count):
            networks.append(kind())
    except BaseException:
        for network in networks:
            network.close()
        raise
    return networks
