"""One request and its answer, on the event loop."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from antiphon.errors import ReadOnlyStore
from antiphon.server.answers import Answer, Headers, Refused, answer_to_error
from antiphon.server.authentication import Authenticator
from antiphon.server.calls import Call, Identity
from antiphon.server.lingering import has_body, linger
from antiphon.server.operations import OPERATIONS, Operation
from antiphon.server.origins import is_from_elsewhere
from antiphon.server.request_in_hand import in_hand, request_of, working_for
from antiphon.server.routing import PROBED, Target, target_of
from antiphon.server.searching import wish_of
from antiphon.server.uploads import (
    COLLECTED_BYTES,
    ClientGone,
    Incoming,
    UploadStream,
    too_large,
)
from antiphon.server.views import Views
from antiphon.server.waiting import Waiting, cancelled, first_of
from antiphon.server.workers import Workers
from antiphon.server.writing import metadata_bytes

logger = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

#: Bytes of a body of JSON: metadata have at most 4 MiB.
MAX_JSON_BYTES = 1 << 23

#: Bytes of a query, which who may only read may send, too: 8 MiB of lists in
#: lists keep a processor busy for ten seconds.
MAX_QUERY_BYTES = 1 << 20

_NO_BODY = io.BytesIO()


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request that was answered, for logs and metrics.

    Attributes:
        store: the name that the store is served under.
        method: of HTTP.
        part: what was asked for; ``""`` if that is nothing that there is.
        key: the key, where there is one.
        status: of the answer; 0 if the client went before there was one.
        bytes_in, bytes_out: of the bodies.
        seconds: from the request's head to the answer's end.
        user_tag: who asked; None if nobody had to say.
        client: the client's address, or ``""``.
        traceparent: the W3C trace context that the client sent, whatever it is; None for none.
        event_id: of the event that tells of the change; None if nothing was changed, or the
            store's events have none.
        action: of the change, ``set``, ``update`` or ``delete``; None if nothing was changed.
    """

    store: str
    method: str
    part: str
    key: str | None
    status: int
    bytes_in: int
    bytes_out: int
    seconds: float
    user_tag: str | None
    client: str
    traceparent: str | None = None
    event_id: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A store that is served, and how.

    Attributes:
        name: for ``observe``.
        views: the store as each user may use it.
        authenticator: tells who sends a request; None lets everyone in.
        max_value_bytes: largest value that is taken.
        upload_idle_s: seconds without a byte after which an upload is given up.
        workers: threads in which the store works.
        waiting: clients that wait for changes.
        observe: is told of each request; None tells nobody.
    """

    name: str
    views: Views
    authenticator: Authenticator | None
    max_value_bytes: int
    upload_idle_s: float
    workers: Workers
    waiting: Waiting
    observe: Callable[[RequestRecord], None] | None

    @property
    def challenges(self) -> Headers:
        """The headers of an answer 401."""
        found = () if self.authenticator is None else self.authenticator.challenges
        return [(b"www-authenticate", challenge.encode()) for challenge in found]


class Exchange:
    """One request and its answer."""

    def __init__(self, served: Served, scope: Scope, receive: Receive, send: Send) -> None:
        self._served = served
        self._scope = scope
        self._receive = receive
        self._send = send
        self._method: str = scope["method"]
        self._headers = _headers_of(scope["headers"])
        self._request = request_of(served.name, self._method, self._headers)
        self._target: Target | None = None
        self._user: Identity | None = None
        self._incoming: Incoming | None = None
        self._status = 0
        self._sent = 0
        self._answer: Answer | None = None

    async def run(self) -> None:
        """Answer the request, whatever it is."""
        token = in_hand.set(self._request)
        try:
            await self._run()
        finally:
            in_hand.reset(token)

    async def _run(self) -> None:
        started = time.perf_counter()
        try:
            try:
                answer = await self._answered()
            except ClientGone:
                return
            except Exception as exc:
                key = None if self._target is None else self._target.key
                answer = answer_to_error(exc, key, self._served.challenges)
            self._answer = answer
            await self._deliver(answer)
        finally:
            if self._served.observe is not None:
                self._served.observe(self._record(time.perf_counter() - started))

    async def _answered(self) -> Answer:
        """Return the answer to the request, or raise why there is none."""
        scope = self._scope
        path = below_root(scope)
        # Before the path is decoded: for a long one that takes half a second.
        if not (self._method == "OPTIONS" and path == PROBED):
            self._user = await self._identified()
        self._target = target_of(path, scope["query_string"], self._method)
        operations = OPERATIONS[self._target.part]
        method = "GET" if self._method == "HEAD" else self._method
        operation = operations.get(method)
        if operation is None:
            raise _not_allowed(self._method, operations)
        self._check_right(operation)
        return await self._performed(operation)

    async def _identified(self) -> Identity | None:
        authenticator = self._served.authenticator
        if authenticator is None:
            return None
        raw = self._headers.get(b"authorization")
        header = None if raw is None else raw.decode("latin-1")
        known = authenticator.recall(header)
        if known is not None:
            return known
        return await self._served.workers.run_password(authenticator.authenticate, header)

    def _check_right(self, operation: Operation) -> None:
        if not operation.writes:
            return
        if is_from_elsewhere(self._headers):
            raise Refused(
                403,
                "a page of another site may not write here",
                error="AuthorizationError",
            )
        if self._served.views.is_readonly:
            raise ReadOnlyStore("the store cannot be written")
        if self._user is not None and not self._user.may_write:
            raise Refused(
                403,
                f"the user {self._user.tag!r} may only read",
                error="AuthorizationError",
            )

    async def _performed(self, operation: Operation) -> Answer:
        workers = self._served.workers
        if self._served.views.is_direct and operation.is_short:
            return operation.handle(self._call(_NO_BODY))
        if operation.waits:
            return await self._awaited(operation)
        handle = partial(working_for, self._request, operation.handle)
        if not operation.body:
            return await workers.run(handle, self._call(_NO_BODY))
        is_data = operation.body == "data"
        limit = self._body_limit(is_data)
        self._incoming = Incoming(self._receive, limit, self._served.upload_idle_s)
        pieces = await self._incoming.collect(COLLECTED_BYTES if is_data else limit)
        head = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._incoming.ended:
            return await workers.run(handle, self._call(io.BytesIO(head)))
        stream = UploadStream(self._incoming, head, asyncio.get_running_loop())
        try:
            return await workers.run_upload(handle, self._call(stream))
        finally:
            stream.close()

    async def _awaited(self, operation: Operation) -> Answer:
        """Return the answer once there is something new, if the client waits for that."""
        workers, waiting = self._served.workers, self._served.waiting
        handle = partial(working_for, self._request, operation.handle)
        call = self._call(_NO_BODY)
        # Who sends a body that nobody reads could not be seen to go.
        wish = None
        if not has_body(self._headers):
            wish = await workers.run(wish_of, call)
        if wish is None:
            return await workers.run(handle, call)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wish.wait_s
        gone = asyncio.ensure_future(self._until_gone())
        try:
            while True:
                with waiting.turn(wish.journal, wish.position) as woken:
                    answer = await workers.run(handle, self._call(_NO_BODY))
                    left_s = deadline - loop.time()
                    if wish.is_met_by(answer) or left_s <= 0 or waiting.is_ended:
                        return answer
                    waiting.check_room()
                    await first_of(woken, gone, left_s)
                if gone.done():
                    raise ClientGone
                if waiting.is_ended:
                    return answer  # which tells nothing; the threads may have ended
                # Whoever asked may not be let in any more.
                self._user = await self._identified()
        finally:
            await cancelled(gone)

    def _body_limit(self, is_data: bool) -> int:
        """Return how long the body may be; a longer one is refused before it is read."""
        limit = self._served.max_value_bytes if is_data else MAX_JSON_BYTES
        part = "" if self._target is None else self._target.part
        if part == "value":
            limit += metadata_bytes(self._headers)
        elif part == "query":
            limit = MAX_QUERY_BYTES
        declared = self._headers.get(b"content-length")
        # The server beneath has checked that it is a number.
        if declared is not None and int(declared) > limit:
            raise too_large(limit)
        return limit

    def _call(self, body: Any) -> Call:
        views = self._served.views
        assert self._target is not None  # noqa: S101 - routed before
        return Call(
            store=views.of(self._user),
            is_authorizing=views.is_authorizing,
            key=self._target.key or "",
            headers=self._headers,
            query_string=self._scope["query_string"],
            body=body,
            user=self._user,
            max_value_bytes=self._served.max_value_bytes,
        )

    # -- Sending ---------------------------------------------------------------

    async def _deliver(self, answer: Answer) -> None:
        has_unread_body = self._has_unread_body()
        closes = answer.closes or has_unread_body
        headers = [*answer.headers, *([(b"connection", b"close")] if closes else [])]
        self._status = answer.status
        try:
            await self._send(
                {"type": "http.response.start", "status": answer.status, "headers": headers}
            )
            if self._method == "HEAD":
                await self._send({"type": "http.response.body", "body": b""})
                return
            if answer.rest is not None:
                await self._body(answer.body, more=True)
                await self._send_rest(answer)
            elif has_unread_body:
                await self._body(answer.body, more=True)
                # Who asks first has not begun to send, and reading on would make it.
                if b"expect" not in self._headers or self._incoming is not None:
                    await linger(self._receive)
                await self._body(b"", more=False)
            else:
                await self._body(answer.body, more=False)
        finally:
            if answer.rest is not None:
                self._served.workers.release(answer.rest.close)

    async def _body(self, piece: bytes, *, more: bool) -> None:
        self._sent += len(piece)
        await self._send({"type": "http.response.body", "body": piece, "more_body": more})

    async def _send_rest(self, answer: Answer) -> None:
        """Send piece by piece; if one fails, leave the answer incomplete.

        The server beneath then cuts the connection, so that the client sees it.
        """
        assert answer.rest is not None  # noqa: S101 - asked before
        length = dict(answer.headers).get(b"content-length")
        gone = asyncio.ensure_future(self._until_gone())
        try:
            while not gone.done():
                piece = await self._served.workers.run(answer.rest.next)
                if not piece:
                    break
                await self._body(piece, more=True)
            if gone.done() or (length is not None and self._sent != int(length)):
                return
            await self._body(b"", more=False)
        except Exception:
            logger.exception("an answer was cut short")
        finally:
            await cancelled(gone)

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _has_unread_body(self) -> bool:
        """Return whether the client is still sending what nobody will read."""
        if self._incoming is not None:
            return not self._incoming.ended
        return has_body(self._headers)

    def _record(self, seconds: float) -> RequestRecord:
        target, client, answer = self._target, self._scope.get("client"), self._answer
        return RequestRecord(
            store=self._served.name,
            method=self._method,
            part="" if target is None else target.part,
            key=None if target is None else target.key,
            status=self._status,
            bytes_in=0 if self._incoming is None else self._incoming.received,
            bytes_out=self._sent,
            seconds=seconds,
            user_tag=None if self._user is None else self._user.tag,
            client="" if not client else str(client[0]),
            traceparent=self._request.traceparent,
            event_id=None if answer is None else answer.event_id,
            action=None if answer is None else answer.action,
        )


def below_root(scope: Scope) -> bytes:
    """Return the raw path below what the application is mounted at."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        # A server that keeps no raw path: what it decoded is encoded again.
        raw = quote(scope["path"], safe="/").encode()
    root = scope.get("root_path", "")
    if root:
        for written in (root.encode(), quote(root, safe="/~!$&'()*+,;=:@").encode()):
            if raw.startswith(written):
                return raw[len(written) :]
    return raw


def _headers_of(pairs: Any) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        headers[name] = headers[name] + b", " + value if name in headers else value
    return headers


def _not_allowed(method: str, operations: Mapping[str, Operation]) -> Refused:
    allowed = [*operations, *(["HEAD"] if "GET" in operations else [])]
    return Refused(
        405,
        f"{method} is not possible here (possible: {', '.join(allowed)})",
        headers=[(b"allow", ", ".join(allowed).encode())],
    )
