"""The broker's own list of its queues, from RabbitMQ's management plugin."""

from __future__ import annotations

import base64
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from antiphon.errors import BrokerRefused, BrokerUnavailable, InvalidURL
from antiphon.messaging.amqp_address import parse_address
from antiphon.schemes import mask_url, scheme_of

#: Seconds to wait for the answer.
TIMEOUT_S = 10.0

#: Bytes of an answer that are read.
MAX_BYTES = 64 * 1024 * 1024


def list_queues(url: str, amqp_url: str) -> list[dict[str, Any]]:
    """Return the queues of the virtual host of *amqp_url*.

    Args:
        url: ``http://user:password@host:15672``; user and password of
            *amqp_url* count where it has none.
        amqp_url: of the broker.

    Raises:
        InvalidURL: *url* is no HTTP URL, or the broker's is none of AMQP.
        BrokerUnavailable, BrokerRefused: there is no answer, or no good one.
    """
    if scheme_of(url) not in ("http", "https") or scheme_of(amqp_url) not in ("amqp", "amqps"):
        raise InvalidURL(
            f"'{mask_url(url)}' is no URL of a management plugin beside an AMQP broker; it looks "
            "like http://user:password@host:15672"
        )
    parts = urllib.parse.urlsplit(url)
    address = parse_address(amqp_url)
    user = urllib.parse.unquote(parts.username or "") or address.user
    password = urllib.parse.unquote(parts.password or "") or address.password
    where = parts.netloc.rpartition("@")[2]
    vhost = urllib.parse.quote(address.virtual_host, safe="")
    request = urllib.request.Request(  # noqa: S310 - the scheme was checked
        f"{parts.scheme}://{where}{parts.path.rstrip('/')}/api/queues/{vhost}",
        headers={
            "Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            told = json.loads(answer.read(MAX_BYTES))
    except urllib.error.HTTPError as exc:
        raise BrokerRefused(
            f"the management plugin at {where} answers {exc.code} {exc.reason} for user '{user}'"
        ) from exc
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = getattr(exc, "reason", exc)
        raise BrokerUnavailable(f"no management plugin answers at {where}: {reason}") from exc
    if not isinstance(told, list):
        raise BrokerUnavailable(f"what answers at {where} is no management plugin of RabbitMQ")
    return [one for one in told if isinstance(one, dict)]
