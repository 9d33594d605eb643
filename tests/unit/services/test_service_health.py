"""Health and metrics of a service over HTTP, and its healthcheck program."""

from __future__ import annotations

import http.server
import io
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from services import healthcheck
from services.skeleton import Service, logs
from services.skeleton.http import make_app
from services.skeleton.logs import CountingHandler


class Sample(Service):
    """A service whose state a test sets."""

    def __init__(self) -> None:
        self.checks: dict[str, str | None] = {"bus": None}
        self.broken: str | None = None
        self.is_stopping = False
        self.stuck: str | None = None

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def readiness(self) -> Mapping[str, str | None]:
        return self.checks

    def failure(self) -> str | None:
        return self.broken

    def metrics(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("sample_temperature", "How warm it is.", value=21.5)


@pytest.fixture
def service() -> Sample:
    """A service that is well."""
    return Sample()


def get(service: Sample, path: str) -> httpx.Response:
    """Ask the service's application."""
    import asyncio

    app = make_app("sample", service, lambda: service.is_stopping, lambda: service.stuck)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://sample") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_ready_when_all_checks_pass(service: Sample) -> None:
    """/readyz is 200 while nothing is missing."""
    answer = get(service, "/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"service": "sample", "ready": True, "checks": {"bus": "ok"}}


def test_not_ready_with_the_reason(service: Sample) -> None:
    """/readyz is 503 and says what is missing."""
    service.checks["cache prices"] = "it is in doubt"

    answer = get(service, "/readyz")

    assert answer.status_code == 503
    assert answer.json()["checks"] == {"bus": "ok", "cache prices": "it is in doubt"}


def test_not_ready_while_it_stops(service: Sample) -> None:
    """After SIGTERM nobody should begin to use it."""
    service.is_stopping = True

    assert get(service, "/readyz").status_code == 503
    assert get(service, "/livez").status_code == 200


def test_alive_though_not_ready(service: Sample) -> None:
    """A broker that is away is no reason to restart the service."""
    service.checks["bus"] = "not connected"

    assert get(service, "/livez").status_code == 200


@pytest.mark.parametrize("attribute", ["broken", "stuck"])
def test_not_alive_with_the_reason(service: Sample, attribute: str) -> None:
    """/livez is 503 when only a restart helps."""
    setattr(service, attribute, "it hangs")

    answer = get(service, "/livez")

    assert answer.status_code == 503
    assert answer.json() == {"service": "sample", "alive": False, "problem": "it hangs"}


def test_metrics_are_in_prometheus_form(service: Sample) -> None:
    """/metrics has the service's figures and the process's own."""
    answer = get(service, "/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "\nsample_temperature 21.5\n" in answer.text


@pytest.fixture
def answering() -> Iterator[tuple[str, list[int]]]:
    """An HTTP server with the status that the test puts into the list."""
    status: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0])
            self.end_headers()
            self.wfile.write(b"said")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/readyz", status
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("code", "status"), [(200, 0), (503, 1), (500, 1)])
def test_the_healthcheck_ends_with_the_verdict(
    answering: tuple[str, list[int]], capsys: pytest.CaptureFixture[str], code: int, status: int
) -> None:
    """Status 0 only for 200; the answer is printed."""
    url, statuses = answering
    statuses.append(code)

    assert healthcheck.main([url]) == status
    assert capsys.readouterr().out == "said\n"


def test_the_healthcheck_of_nobody_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """When nothing listens the status is 1, without a traceback."""
    assert healthcheck.main(["http://127.0.0.1:1/readyz"]) == 1
    assert "refused" in capsys.readouterr().out


@pytest.mark.parametrize("variable", ["ANTIPHON_HTTP_PORT", "ANTIPHON_HTTP_PORT_FILE"])
def test_the_healthcheck_finds_the_port(
    answering: tuple[str, list[int]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
) -> None:
    """It asks where the service listens, in whichever way that was given."""
    url, statuses = answering
    statuses.append(200)
    port = str(httpx.URL(url).port)
    (tmp_path / "port").write_text(f"{port}\n")
    for name in ("ANTIPHON_HTTP_PORT", "ANTIPHON_HTTP_PORT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "port") if variable.endswith("_FILE") else port)

    assert 0 == healthcheck.main([])


def test_metrics_say_what_readyz_says(service: Sample) -> None:
    """An alarm of any service needs no second way to ask."""
    service.checks["store notes"] = "it does not answer"
    text = get(service, "/metrics").text

    assert "\nantiphon_service_ready 0.0\n" in text
    assert '\nantiphon_service_check{check="bus"} 1.0\n' in text
    assert '\nantiphon_service_check{check="store notes"} 0.0\n' in text
    assert '\nantiphon_service_info{python="' in text


def test_logged_records_are_counted_by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings and errors are figures before there are any, so that a rise is seen."""
    handler = CountingHandler()
    monkeypatch.setattr(handler, "stream", io.StringIO())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        logging.getLogger("test").warning("once")
        found = logs.counts()
    finally:
        root.removeHandler(handler)

    assert {"WARNING": 1, "ERROR": 0, "CRITICAL": 0} == found
