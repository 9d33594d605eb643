"""The life of a service's process: settings, start, SIGTERM, a clean end."""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from antiphon.errors import AntiphonError
from antiphon.terminal.utils import printable
from services.skeleton import logs
from services.skeleton.effective import as_toml, shown
from services.skeleton.http import HttpServer, make_app
from services.skeleton.service import Service
from services.skeleton.settings import BadSettings, ServiceSettings, load, place_of
from services.skeleton.signals import told_to_end
from services.skeleton.variables import SETTINGS_VARIABLE

logger = logging.getLogger("antiphon.service")

#: Exit statuses; the second is EX_CONFIG of <sysexits.h>: restarting does not help.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_SETTINGS = 78

#: Seconds between two signs of life of the main thread, and how long it may be silent.
_TICK_S = 1.0
_STUCK_AFTER_S = 15.0

_S = TypeVar("_S", bound=ServiceSettings)


def run(
    name: str,
    settings_class: type[_S],
    build: Callable[[_S], Service],
    argv: Sequence[str],
) -> int:
    """Run a service until SIGTERM or SIGINT; return the exit status.

    Args:
        name: of the service, in logs and messages.
        settings_class: its settings.
        build: makes the service from its settings, without connecting to anything.
        argv: the command line without the program.

    Bad settings are told in one line on standard error, and end with status 78.  With
    ``--check-config`` nothing is run: good settings are printed as they are in effect,
    without secrets, and the status is 0.
    """
    arguments = _parser(name).parse_args(argv)
    path: Path | None = arguments.settings
    if path is None and (named := os.environ.get(SETTINGS_VARIABLE)):
        path = Path(named)
    try:
        settings, secrets = load(settings_class, path)
    except BadSettings as exc:
        return _refused(name, exc)
    if arguments.check_config:
        return _checked(name, path, settings, secrets)
    stop = threading.Event()
    with told_to_end(stop):
        return _run(name, path, settings, secrets, build, stop)


def _run(
    name: str,
    path: Path | None,
    settings: _S,
    secrets: frozenset[str],
    build: Callable[[_S], Service],
    stop: threading.Event,
) -> int:
    try:
        sock = _listen(settings.http_host, settings.http_port)
        try:
            logs.set_up(name, settings.log_level, secrets)
            service = build(settings)
            _log_start(path, settings, secrets)
        except BaseException:
            sock.close()
            raise
    except AntiphonError as exc:
        # BadSettings, or a URL in them that no store or transport can take.
        return _refused(name, f"{place_of(path)}: {exc}")
    try:
        return _Life(name, settings, service, sock, stop).live()
    except Exception:
        logger.exception("the service failed")
        return EXIT_FAILED


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=name, description=f"Antiphon's service {name}.")
    parser.add_argument(
        "settings", nargs="?", type=Path, help=f"TOML file (default: ${SETTINGS_VARIABLE})"
    )
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="look at the settings, print them as they are in effect, and end: "
        f"with status {EXIT_OK} if they are good, else {EXIT_BAD_SETTINGS}",
    )
    return parser


def _checked(name: str, path: Path | None, settings: _S, secrets: frozenset[str]) -> int:
    try:
        settings.check()
    except AntiphonError as exc:
        return _refused(name, f"{place_of(path)}: {exc}")
    sys.stdout.write(f"# {name}: these settings are good\n{as_toml(settings, secrets)}")
    return EXIT_OK


def _log_start(path: Path | None, settings: ServiceSettings, secrets: frozenset[str]) -> None:
    extra = {
        "version": importlib.metadata.version("antiphon"),
        "python": platform.python_version(),
        "settings_file": None if path is None else str(path),
        "settings": shown(settings, secrets),
    }
    logger.info("starting", extra=extra)


def _refused(name: str, why: object) -> int:
    # Names of settings, files and variables may be anything.
    sys.stderr.write(f"{name}: {printable(why)}\n")
    return EXIT_BAD_SETTINGS


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except OSError as exc:
        raise BadSettings(
            f"http_host, http_port: cannot listen on {host}:{port}: {exc.strerror or exc}"
        ) from None


class _Life:
    """One run of a service."""

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        service: Service,
        sock: socket.socket,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._service = service
        self._stop = stop
        self._ticked = time.monotonic()
        self._address = sock.getsockname()[:2]
        self._http = HttpServer(make_app(name, service, self._stop.is_set, self._stuck), sock)

    def _stuck(self) -> str | None:
        silent_s = time.monotonic() - self._ticked
        return f"no sign of life for {silent_s:.0f} s" if silent_s > _STUCK_AFTER_S else None

    def live(self) -> int:
        """Start, wait for a signal, or for what only a restart helps, and stop.

        Returns:
            The exit status.
        """
        self._http.start()
        host, port = self._address
        logger.info("serving health and metrics", extra={"address": f"{host}:{port}"})
        try:
            if not self._stop.is_set():
                self._service.start()
            while not self._stop.wait(_TICK_S):
                self._service.tick()
                self._ticked = time.monotonic()
                if (reason := self._service.failure()) is not None:
                    logger.error("only a restart helps: %s", reason)
                    return EXIT_FAILED
            return EXIT_OK
        finally:
            self._end()

    def _end(self) -> None:
        self._stop.set()
        started = time.monotonic()
        logger.info("stopping")
        watchdog = threading.Timer(self._settings.stop_timeout_s, self._abort)
        watchdog.daemon = True
        watchdog.start()
        self._service.stop()
        self._http.stop()
        watchdog.cancel()
        logger.info("stopped", extra={"seconds": round(time.monotonic() - started, 3)})

    def _abort(self) -> None:
        logger.error("not stopped after %g s: giving up", self._settings.stop_timeout_s)
        logging.shutdown()
        os._exit(EXIT_FAILED)
