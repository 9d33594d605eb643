"""Openers of ``urllib`` that authenticate, for whoever brings handlers of its own."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from antiphon.errors import InvalidValue
from antiphon.storage.http_options import HttpOptions


def opener_for(
    root_url: str,
    credentials: Any,
    http: HttpOptions,
    proxy_handler: urllib.request.BaseHandler | None,
    auth_handler_factory: Callable[[], Any] | None,
) -> urllib.request.OpenerDirector:
    """Return an opener that authenticates as ``StaticURLStore.connect`` was asked to.

    Raises:
        InvalidValue: the credentials are no username and password.
    """
    handlers: list[Any] = []
    if root_url.startswith("http"):
        context = ssl.create_default_context(cafile=http.ca_file)
        if http.cert_file is not None:
            context.load_cert_chain(http.cert_file, http.key_file)
        handlers.append(urllib.request.HTTPSHandler(context=context))
    if proxy_handler is not None:
        handlers.append(proxy_handler)
    if credentials is not None:
        if not isinstance(credentials, Mapping) or not {"username", "password"} <= set(credentials):
            raise InvalidValue(f"credentials for {root_url} have a 'username' and a 'password'")
        make = auth_handler_factory or urllib.request.HTTPBasicAuthHandler
        handler: Any = make()
        given = {"uri": root_url, "realm": "encore.storage", **credentials}
        if isinstance(handler, _URLLIB_AUTH):
            # urllib has its own words for them; and who gives no realm means any.
            if "realm" not in credentials:
                handler = _with_any_realm(handler)
            given["user"], given["passwd"] = given.pop("username"), given.pop("password")
        handler.add_password(**given)
        handlers.append(handler)
    return urllib.request.build_opener(*handlers)


_URLLIB_AUTH = (
    urllib.request.AbstractBasicAuthHandler,
    urllib.request.AbstractDigestAuthHandler,
)


def _with_any_realm(handler: Any) -> Any:
    handler.passwd = _AnyRealm()
    handler.add_password = handler.passwd.add_password
    return handler


class _AnyRealm(urllib.request.HTTPPasswordMgrWithDefaultRealm):
    """Passwords for whatever realm the server names."""

    def add_password(self, realm: Any, uri: Any, user: str, passwd: str) -> None:
        super().add_password(None, uri, user, passwd)
