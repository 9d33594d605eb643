"""What a doctor asks services: whether they live, and whether they are ready."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from antiphon.cli.doctor_findings import Finding
from antiphon.schemes import mask_url, scheme_of

#: Seconds to wait for an answer.
TIMEOUT_S = 5.0

#: Bytes of an answer that are read.
MAX_BYTES = 1024 * 1024


def look_at_service(url: str) -> Iterator[Finding]:
    """Yield what the service whose health is at *url* (``http://host:8080``) says of itself."""
    subject = f"service {mask_url(url)}"
    if scheme_of(url) not in ("http", "https"):
        advice = "a service's health is at http://host:8080"
        yield Finding(subject, "reachable", "wrong", f"'{mask_url(url)}' is no HTTP URL", advice)
        return
    try:
        status, alive = _ask(url, "/livez")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        text = f"it does not answer: {getattr(exc, 'reason', exc)}"
        advice = "see whether it runs, and its log; its address is http_host and http_port"
        yield Finding(subject, "reachable", "wrong", text, advice)
        return
    if "service" not in alive:
        yield _stranger(subject, status)
        return
    name = str(alive["service"])
    if status != 200:
        yield Finding(
            subject,
            "livez",
            "wrong",
            f"{name} cannot go on: {alive.get('problem') or f'it answers {status}'}",
            "start it anew, and see its log",
            {"status": status},
        )
    yield from _readiness(subject, name, url)


def _stranger(subject: str, status: int) -> Finding:
    """Return what to say of a server that does not answer as services do."""
    text = f"what answers there is no service of antiphon (/livez: {status})"
    advice = "its health is at http_host and http_port of its settings, not where it serves stores"
    if status in (401, 403):
        advice = (
            "write the user and password that are asked for into the URL: http://user:password@"
        )
    return Finding(subject, "reachable", "wrong", text, advice, {"status": status})


def _readiness(subject: str, name: str, url: str) -> Iterator[Finding]:
    try:
        status, ready = _ask(url, "/readyz")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        text = f"{name} does not say whether it is ready: {getattr(exc, 'reason', exc)}"
        yield Finding(subject, "readyz", "wrong", text, "see its log")
        return
    checks = ready.get("checks")
    problems = [
        f"{check}: {problem}"
        for check, problem in (checks.items() if isinstance(checks, dict) else ())
        if problem != "ok"
    ]
    facts = {"service": name, "status": status, "checks": checks}
    if status == 200:
        yield Finding(subject, "readyz", "ok", f"{name} is ready", facts=facts)
        return
    why = "; ".join(problems) or f"it answers {status}"
    advice = "what it waits for is named; it goes on by itself when that is there"
    yield Finding(subject, "readyz", "wrong", f"{name} is not ready: {why}", advice, facts)


def _ask(url: str, path: str) -> tuple[int, dict[str, Any]]:
    root = url.partition("?")[0].rstrip("/")
    for known in ("/livez", "/readyz", "/metrics"):
        root = root.removesuffix(known)
    scheme, _, rest = root.partition("://")
    login, _, where = rest.rpartition("@")
    # Left in the URL, a password would be part of what urllib says of it.
    request = urllib.request.Request(f"{scheme}://{where}{path}")  # noqa: S310
    if login:
        encoded = base64.b64encode(urllib.parse.unquote(login).encode()).decode()
        request.add_header("Authorization", f"Basic {encoded}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return answer.status, _content(answer.read(MAX_BYTES))
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, _content(exc.read(MAX_BYTES))


def _content(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
