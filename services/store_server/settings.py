"""Settings of the store server: the skeleton's, the stores, and who may use them."""

from __future__ import annotations

import re
import ssl
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    SecretStr,
    field_validator,
    model_validator,
)

from antiphon import open_store
from services.skeleton import BadSettings, ServiceSettings
from services.skeleton.settings import in_setting

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_TOKEN_HASH = re.compile(r"sha256\$[0-9a-f]{64}")

_TLS_SETTINGS = "tls_certificate, tls_key, tls_client_ca"

#: A token that is shorter could be guessed.
_SHORTEST_TOKEN = 16


class StoreSettings(BaseModel):
    """One store that is served.

    Attributes:
        url: which store it is, as ``open_store`` takes it.
        authorizing: whether each key has owners and permissions
            (docs/reference/permissions.md).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(min_length=1)
    authorizing: bool = False


class UserSettings(BaseModel):
    """Somebody who may use the stores.

    Attributes:
        name: of the user, for Basic credentials, logs and permissions.
        password_hash: what ``hash_password`` made of the password.
        token: a bearer token; written ``${NAME}``, so that it is in no file.
        token_hashes: what ``token_hash`` made of tokens.
        tags: more tags of the user, for permissions.
        may: ``read`` or ``write``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=200)
    password_hash: SecretStr | None = None
    token: SecretStr | None = None
    token_hashes: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    may: Literal["read", "write"] = "read"

    @model_validator(mode="after")
    def _can_be_known(self) -> Self:
        if self.name in ("*", "anonymous") or ":" in self.name:
            raise ValueError("the name of a user is not '*' or 'anonymous', and has no colon")
        if self.password_hash is None and self.token is None and not self.token_hashes:
            raise ValueError("a user needs a password_hash, a token or token_hashes")
        if self.password_hash is not None:
            parts = self.password_hash.get_secret_value().split("$")
            if parts[0] != "scrypt" or len(parts) != 6:
                raise ValueError(
                    "password_hash is what antiphon.storage.passwords.hash_password returns"
                )
        if self.token is not None and len(self.token.get_secret_value()) < _SHORTEST_TOKEN:
            raise ValueError(f"a token has at least {_SHORTEST_TOKEN} characters")
        if not all(_TOKEN_HASH.fullmatch(each) for each in self.token_hashes):
            raise ValueError("token_hashes are what antiphon.server.token_hash returns")
        return self


class StoreServerSettings(ServiceSettings):
    """The store server's settings.

    Attributes:
        amqp_url: the broker that is told of each change; empty for none.
        stores: by the name that each is served under, ``/stores/<name>``.
        users: who may use the stores.
        users_url: a store with users' passwords under ``.user_<name>``, as a
            ``SimpleAuthStore`` keeps them; it is not served.
        users_may: what those may do.
        anonymous: what may be done without saying who one is.
        store_host: address on which the stores are served.
        store_port: its port; 0 takes a free one, which is logged.
        tls_certificate, tls_key: files in PEM; without them it is plain HTTP.
        tls_client_ca: file with the authorities of clients' certificates; then
            only clients that have one are let in.
        max_value_bytes: largest value that is taken.
        upload_idle_s: seconds without a byte after which an upload is given up.
        max_waiting: clients that may wait for changes of one store at a time.
        access_log: whether each request is logged.
        log_keys: whether the log has keys as they are; else digests of them.
    """

    amqp_url: str = ""
    origin: str | None = "store-server"
    stores: dict[str, StoreSettings] = Field(min_length=1)
    users: tuple[UserSettings, ...] = ()
    users_url: str | None = None
    users_may: Literal["read", "write"] = "read"
    anonymous: Literal["nothing", "read", "write"] = "nothing"
    store_host: str = Field(default="127.0.0.1", min_length=1)
    store_port: int = Field(default=8090, ge=0, le=65535)
    tls_certificate: FilePath | None = None
    tls_key: FilePath | None = None
    tls_client_ca: FilePath | None = None
    max_value_bytes: int = Field(default=1 << 34, gt=0)
    upload_idle_s: float = Field(default=30.0, gt=0, le=3600)
    max_waiting: int = Field(default=500, ge=0)
    access_log: bool = True
    log_keys: bool = False

    @field_validator("stores")
    @classmethod
    def _names_are_plain(cls, stores: dict[str, StoreSettings]) -> dict[str, StoreSettings]:
        for name in stores:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"the name {name!r} of a store is not of letters, digits, '.', '_' and '-'"
                )
        return stores

    @model_validator(mode="after")
    def _is_usable(self) -> Self:
        if self.anonymous == "nothing" and not self.users and self.users_url is None:
            raise ValueError(
                "nobody could use it: name users, or users_url, or set anonymous to 'read'"
            )
        names = [user.name for user in self.users]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two users are named {name!r}")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("tls_client_ca needs tls_certificate and tls_key")
        return self

    def check(self) -> None:
        """Look at the URLs and certificates as well."""
        super().check()
        for name, store in self.stores.items():
            with in_setting(f"stores.{name}"):
                open_store(store.url)
        if self.users_url is not None:
            with in_setting("users_url"):
                open_store(self.users_url)
        self._check_certificates()

    def _check_certificates(self) -> None:
        if self.tls_certificate is None or self.tls_key is None:
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.tls_certificate, self.tls_key)
            if self.tls_client_ca is not None:
                context.load_verify_locations(self.tls_client_ca)
        except ssl.SSLError as exc:
            raise no_good_certificate(exc) from None
        except OSError as exc:
            raise BadSettings(
                f"{_TLS_SETTINGS}: a file cannot be read: {exc.strerror or exc}"
            ) from None


def no_good_certificate(exc: ssl.SSLError) -> BadSettings:
    """Return what to raise for certificates that the library of TLS refuses."""
    return BadSettings(f"{_TLS_SETTINGS}: no good certificate: {exc.reason or exc}")
