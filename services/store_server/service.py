"""The store server as a service."""

from __future__ import annotations

import contextlib
import importlib
import logging
import ssl
from collections.abc import Iterable, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from antiphon.server import Account, Accounts, accounts_in, stores_app, token_hash
from antiphon.server.serving import TLS, HttpServer
from services.skeleton import BadSettings, Service, ServiceBus
from services.skeleton.in_hand import also_ask
from services.skeleton.settings import in_setting
from services.store_server.opened import OpenedStore
from services.store_server.requests import RequestLog, request_facts
from services.store_server.settings import (
    StoreServerSettings,
    UserSettings,
    no_good_certificate,
)

logger = logging.getLogger("antiphon.service.store_server")

#: What the rest of the end gets of ``stop_timeout_s``, once requests have ended.
_CLOSING_S = 2.0


class StoreServer(Service):
    """The stores of the settings over HTTP, each change an event on the bus.

    Args:
        settings: of the service.

    Raises:
        AntiphonError: a URL makes no sense, or the address is taken.  A store
            or broker that does not answer is no error: it is tried until it
            does, and ``/readyz`` says so.
    """

    def __init__(self, settings: StoreServerSettings) -> None:
        # With it events carry the trace of the request that made them; it is not needed.
        with contextlib.suppress(ImportError):
            importlib.import_module("opentelemetry.trace")
        also_ask(request_facts)
        self._log = RequestLog(access_log=settings.access_log, log_keys=settings.log_keys)
        self._bus = ServiceBus(settings) if settings.amqp_url else None
        bus = self._bus.bus if self._bus is not None else None
        try:
            self._stores = []
            for name, store in settings.stores.items():
                with in_setting(f"stores.{name}"):
                    opened = OpenedStore(name, store.url, bus, authorizing=store.authorizing)
                self._stores.append(opened)
                self._log.serves(name, opened.origin)
            with in_setting("users_url"):
                self._users = (
                    None
                    if settings.users_url is None
                    else OpenedStore("users", settings.users_url, None)
                )
            self._app = stores_app(
                {opened.name: opened.store for opened in self._stores},
                authenticator=_accounts(settings, self._users),
                max_value_bytes=settings.max_value_bytes,
                upload_idle_s=settings.upload_idle_s,
                max_waiting=settings.max_waiting,
                observe=self._log.observe,
            )
            self._server = _listening(self._app, settings)
        except BaseException:
            if self._bus is not None:
                self._bus.bus.close(0)
            raise

    def start(self) -> None:
        """Begin to serve, and to open the stores."""
        if self._bus is not None:
            self._bus.start()
        for opened in self._all_stores():
            opened.start()
        self._server.start()
        logger.info("serving stores", extra={"stores_url": f"{self._server.url}/stores"})

    def stop(self) -> None:
        """Take no more requests, let the running ones end, and close everything."""
        self._server.stop()
        self._app.close()
        for opened in self._all_stores():
            opened.stop()
        if self._bus is not None:
            self._bus.close()

    def _all_stores(self) -> list[OpenedStore]:
        return [*self._stores, *([self._users] if self._users is not None else [])]

    def tick(self) -> None:
        """Log why the bus does not work, once for each reason."""
        if self._bus is not None:
            self._bus.tick()

    def readiness(self) -> Mapping[str, str | None]:
        """Each store answers, and the bus works, as a canary has shown lately."""
        found = {f"store {opened.name}": opened.problem() for opened in self._all_stores()}
        if self._bus is not None:
            found["bus"] = self._bus.problem()
        return found

    def failure(self) -> str | None:
        """A thread that has ended does not come back; a bus that does not heal may not, either."""
        if not self._server.is_running:
            return "the HTTP server has ended"
        dead = [opened.name for opened in self._all_stores() if not opened.is_alive()]
        if dead:
            return f"nobody looks after the stores {', '.join(dead)} any more: a thread has ended"
        return None if self._bus is None else self._bus.failure()

    def metrics(self) -> Iterable[Metric]:
        """The figures of requests and stores, and the bus's."""
        yield from self._log.metrics()
        answers = GaugeMetricFamily(
            "antiphon_store_answers", "1 while the store answers.", labels=["store"]
        )
        for opened in self._stores:
            answers.add_metric([opened.name], float(opened.problem() is None))
        yield answers
        waiting = GaugeMetricFamily(
            "antiphon_store_waiting", "Clients that wait for a change.", labels=["store"]
        )
        for name, app in self._app.apps.items():
            waiting.add_metric([name], float(app.served.waiting.count))
        yield waiting
        if self._bus is not None:
            yield from self._bus.metrics()


def _accounts(settings: StoreServerSettings, users: OpenedStore | None) -> Accounts:
    return Accounts(
        [_account(user) for user in settings.users],
        find=None if users is None else accounts_in(users.store, may=settings.users_may),
        anonymous=None if settings.anonymous == "nothing" else settings.anonymous,
    )


def _account(user: UserSettings) -> Account:
    own = () if user.token is None else (token_hash(user.token.get_secret_value()),)
    return Account(
        user.name,
        None if user.password_hash is None else user.password_hash.get_secret_value(),
        (*own, *user.token_hashes),
        user.tags,
        user.may,
    )


def _listening(app: object, settings: StoreServerSettings) -> HttpServer:
    tls = None
    if settings.tls_certificate is not None and settings.tls_key is not None:
        authority = settings.tls_client_ca
        tls = TLS(
            str(settings.tls_certificate),
            str(settings.tls_key),
            None if authority is None else str(authority),
        )
    place = f"{settings.store_host}:{settings.store_port}"
    try:
        return HttpServer(
            app,
            host=settings.store_host,
            port=settings.store_port,
            tls=tls,
            grace_s=max(1.0, settings.stop_timeout_s - _CLOSING_S - 3),
        )
    except ssl.SSLError as exc:
        raise no_good_certificate(exc) from None
    except OSError as exc:
        raise BadSettings(
            f"store_host, store_port: cannot listen on {place}: {exc.strerror or exc}"
        ) from None
