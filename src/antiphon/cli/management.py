"""What the broker says of itself through RabbitMQ's management plugin."""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from email.utils import parsedate_to_datetime
from typing import Any

from antiphon.errors import BrokerRefused, BrokerUnavailable, InvalidURL
from antiphon.messaging.amqp_address import parse_address
from antiphon.schemes import mask_url, scheme_of

#: Seconds to wait for the answer.
TIMEOUT_S = 10.0

#: Bytes of an answer that are read.
MAX_BYTES = 64 * 1024 * 1024


class Management:
    """The management plugin of a broker.

    Args:
        url: ``http://user:password@host:15672``; user and password of
            *amqp_url* count where it has none.
        amqp_url: of the broker; says which virtual host is meant.

    Raises:
        InvalidURL: *url* is no HTTP URL, or the broker's is none of AMQP.
    """

    def __init__(self, url: str, amqp_url: str) -> None:
        is_http = scheme_of(url) in ("http", "https")
        if not is_http or scheme_of(amqp_url) not in ("amqp", "amqps"):
            raise InvalidURL(
                f"'{mask_url(url)}' is no URL of a management plugin beside an AMQP broker; it "
                "looks like http://user:password@host:15672"
            )
        parts = urllib.parse.urlsplit(url)
        address = parse_address(amqp_url)
        self.user = urllib.parse.unquote(parts.username or "") or address.user
        password = urllib.parse.unquote(parts.password or "") or address.password
        login = base64.b64encode(f"{self.user}:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}"}
        self.where = parts.netloc.rpartition("@")[2]
        self._root = f"{parts.scheme}://{self.where}{parts.path.rstrip('/')}/api"
        self._vhost = urllib.parse.quote(address.virtual_host, safe="")
        #: Seconds that its clock is ahead of ours (below 0: behind), at least; None before the
        #: first answer.  It tells whole seconds only.
        self.clock_off_s: float | None = None

    def queues(self) -> list[dict[str, Any]]:
        """Return the queues of the virtual host.

        Raises:
            BrokerUnavailable, BrokerRefused: there is no answer, or no good one.
        """
        return self._list(f"queues/{self._vhost}")

    def nodes(self) -> list[dict[str, Any]]:
        """Return the nodes of the cluster; raises as ``queues`` does."""
        return self._list("nodes")

    def _list(self, path: str) -> list[dict[str, Any]]:
        told = self._ask(path)
        if not isinstance(told, list):
            raise BrokerUnavailable(
                f"what answers at {self.where} is no management plugin of RabbitMQ"
            )
        return [one for one in told if isinstance(one, dict)]

    def _ask(self, path: str) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            f"{self._root}/{path}", headers=self._headers
        )
        asked_at = time.time()
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                self._look_at_clock(answer.headers.get("Date"), asked_at)
                return json.loads(answer.read(MAX_BYTES))
        except urllib.error.HTTPError as exc:
            exc.close()
            raise BrokerRefused(
                f"the management plugin at {self.where} answers {exc.code} {exc.reason} for user "
                f"'{self.user}'"
            ) from exc
        except (OSError, http.client.HTTPException, ValueError) as exc:
            reason = getattr(exc, "reason", exc)
            raise BrokerUnavailable(
                f"no management plugin answers at {self.where}: {reason}"
            ) from exc

    def _look_at_clock(self, date: str | None, asked_at: float) -> None:
        try:
            told = parsedate_to_datetime(date or "").timestamp()
        except ValueError:
            return
        # The second that is told has begun, and is not over.
        self.clock_off_s = min(told + 1 - asked_at, 0.0) or max(told - time.time(), 0.0)


def list_queues(url: str, amqp_url: str) -> list[dict[str, Any]]:
    """Return the queues of the virtual host of *amqp_url*; see ``Management``."""
    return Management(url, amqp_url).queues()
