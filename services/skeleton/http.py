"""Health and metrics over HTTP: ``/livez``, ``/readyz``, ``/metrics``."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.skeleton import logs
from services.skeleton.metrics import service_metrics
from services.skeleton.service import Service

#: Seconds that requests get to end when the service stops.
_GRACE_S = 1


class _ServiceMetrics(Collector):
    def __init__(
        self, name: str, service: Service, checks: Callable[[], Mapping[str, str | None]]
    ) -> None:
        self._name = name
        self._service = service
        self._checks = checks

    def collect(self) -> Iterable[Metric]:
        yield from service_metrics(self._name, self._checks(), logs.counts())
        yield from self._service.metrics()


def make_app(
    name: str, service: Service, is_stopping: Callable[[], bool], stuck: Callable[[], str | None]
) -> Starlette:
    """Return the application that answers for a service.

    Args:
        name: of the service, in each answer.
        service: is asked at each request.
        is_stopping: whether it was told to end, so that nobody should use it any more.
        stuck: why the process as a whole does not go on, or None.
    """

    def checks() -> Mapping[str, str | None]:
        found = dict(service.readiness())
        return found | {"service": "it is being stopped"} if is_stopping() else found

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_ServiceMetrics(name, service, checks))

    async def livez(request: Request) -> Response:
        problem = stuck() or service.failure()
        content = {"service": name, "alive": problem is None, "problem": problem}
        return JSONResponse(content, 503 if problem else 200)

    async def readyz(request: Request) -> Response:
        found = checks()
        is_ready = not any(found.values())
        shown = {check: problem or "ok" for check, problem in found.items()}
        content = {"service": name, "ready": is_ready, "checks": shown}
        return JSONResponse(content, 200 if is_ready else 503)

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    return Starlette(routes=routes)


class HttpServer:
    """Serves an application from a thread of its own.

    Args:
        app: the application.
        sock: a listening socket, so that the address was known to be free before.
    """

    def __init__(self, app: Starlette, sock: socket.socket) -> None:
        self._sock = sock
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    def _serve(self) -> None:
        # uvicorn takes over signals only on the main thread; ours stay ours.
        self._server.run(sockets=[self._sock])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._server.should_exit = True
        self._thread.join(_GRACE_S + 2)
        self._sock.close()
