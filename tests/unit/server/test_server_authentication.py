"""Who is let in, and what for."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from antiphon.errors import AuthenticationError
from antiphon.server import Account, Accounts, accounts_in, authentication, token_hash
from antiphon.server.calls import Identity
from antiphon.storage.dict_memory_store import DictMemoryStore
from antiphon.storage.passwords import hash_password
from tests.unit.server.asgi import Asker, asker_of

#: Cheap hashes: the tests are about what is done with them.
COST = 4


def basic(name: str, password: str, encoding: str = "utf-8") -> str:
    """Return a header with Basic credentials."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode(encoding)).decode()


ACCOUNTS = [
    Account("ann", hash_password("pass:wörd", log2_n=COST), (token_hash("token-of-ann"),)),
    Account("rob", hash_password("only reading", log2_n=COST), may="read"),
    Account("bot", None, (token_hash("one"), token_hash("two")), frozenset({"bots"})),
]


@pytest.fixture
def ask(store: DictMemoryStore) -> Iterator[Asker]:
    """Asks an application that wants to know who asks."""
    store.set_metadata("a", {})
    asker = asker_of(store, authenticator=Accounts(ACCOUNTS))
    yield asker
    asker.app.close()


def status(ask: Asker, header: str | None, method: str = "GET") -> int:
    """Return the status of a request with these credentials."""
    headers = {} if header is None else {"Authorization": header}
    return ask(method, "/keys/a/metadata", content=b"{}", headers=headers).status_code


@pytest.mark.parametrize(
    "header",
    [
        basic("ann", "pass:wörd"),
        basic("ann", "pass:wörd", "latin-1"),
        "Bearer token-of-ann",
        "bearer  two",
    ],
)
def test_who_is_known_is_let_in(ask: Asker, header: str) -> None:
    """By password or token, in either case and encoding."""
    assert [200, 200] == [status(ask, header), status(ask, header, "PUT")]


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        basic("ann", "wrong"),
        basic("nobody", "pass:wörd"),
        basic("bot", ""),
        "Basic no-base64!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Bearer three",
        "Bearer " + token_hash("one"),
        "Digest x",
        "Basic " + "x" * 100_000,
    ],
)
def test_who_is_not_known_is_refused(ask: Asker, header: str | None) -> None:
    """401 tells how to say who one is, and nothing about which part was wrong."""
    headers = {} if header is None else {"Authorization": header}
    answer = ask("GET", "/keys/a/data", headers=headers)

    assert (401, "AuthenticationError") == (answer.status_code, answer.json()["error"])
    challenges = answer.headers.get_list("www-authenticate")
    assert ["Basic", "Bearer"] == [challenge.split()[0] for challenge in challenges]


def test_every_path_of_a_store_asks_who_it_is(ask: Asker) -> None:
    """Nothing but the probe is told to strangers."""
    paths = ["/keys/a/value", "/query", "/info", "/index.json", "/journal/head", "/data/a"]

    assert {401} == {ask("GET", path).status_code for path in paths}
    assert 401 == ask("DELETE", "/keys/a").status_code
    assert 204 == ask("OPTIONS", "/query").status_code


def test_a_reader_may_not_write(ask: Asker, store: DictMemoryStore) -> None:
    """403 for each method that writes, a query is none."""
    header = {"Authorization": basic("rob", "only reading")}

    assert 200 == ask("GET", "/keys/a/data", headers=header).status_code
    assert 200 == ask("POST", "/query", json={}, headers=header).status_code
    for method, path in (("PUT", "/keys/a/data"), ("DELETE", "/keys/a"), ("PUT", "/keys/a/auth")):
        answer = ask(method, path, content=b"x", headers=header)
        assert (403, "AuthorizationError") == (answer.status_code, answer.json()["error"])
    assert store.exists("a")


def test_strangers_may_be_let_in_to_read(store: DictMemoryStore) -> None:
    """Without a name they read; with a wrong password they do not."""
    store.set_metadata("a", {})
    ask = asker_of(store, authenticator=Accounts(ACCOUNTS, anonymous="read"))
    found = [
        status(ask, None),
        status(ask, None, "PUT"),
        status(ask, basic("ann", "wrong")),
        status(ask, "Bearer one", "PUT"),
    ]
    ask.app.close()

    assert [200, 403, 401, 200] == found


def test_a_password_is_computed_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was right is remembered for a while, what was wrong is not."""
    computed: list[str] = []
    clock = [1000.0]

    def verify(password: bytes, stored: Any) -> bool:
        computed.append(password.decode())
        return password == b"right"

    monkeypatch.setattr(authentication, "verify_password", verify)
    monkeypatch.setattr(authentication.time, "monotonic", lambda: clock[0])
    accounts = Accounts([Account("ann", "stored")])
    right, wrong = basic("ann", "right"), basic("ann", "wrong")

    assert accounts.recall(right) is None
    assert Identity("ann") == accounts.authenticate(right) == accounts.recall(right)
    for _ in range(2):
        assert accounts.recall(wrong) is None
        with pytest.raises(AuthenticationError):
            accounts.authenticate(wrong)
    assert ["right", "wrong", "wrong"] == computed

    clock[0] += authentication.REMEMBERED_S

    assert accounts.recall(right) is None


def test_only_so_many_passwords_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory for them is bounded."""
    monkeypatch.setattr(authentication, "verify_password", lambda password, stored: True)
    monkeypatch.setattr(authentication, "REMEMBERED", 3)
    accounts = Accounts([Account("ann", "stored")])
    headers = [basic("ann", str(number)) for number in range(5)]
    for header in headers:
        accounts.authenticate(header)

    assert [True] * 3 + [False] * 2 == [
        accounts.recall(header) is not None for header in reversed(headers)
    ]


def test_an_unknown_name_takes_as_long_as_a_wrong_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hash is computed for whoever asks, with the cost that hashes have."""
    computed: list[str] = []
    monkeypatch.setattr(
        authentication, "verify_password", lambda password, stored: computed.append(stored)
    )
    real = hash_password("x")
    with pytest.raises(AuthenticationError):
        Accounts().authenticate(basic("nobody", "x"))

    name, *costs, salt, digest = computed[0].split("$")
    assert [name, *costs] == real.split("$")[:4]
    assert [len(salt), len(digest)] == [len(part) for part in real.split("$")[4:]]


def test_users_of_a_simple_auth_store() -> None:
    """Keys that hold users' passwords are looked up for each name."""
    users = DictMemoryStore()
    users.from_bytes(".user_ann", hash_password("secret", log2_n=COST).encode())
    accounts = Accounts(find=accounts_in(users, may="read"))

    assert Identity("ann", may_write=False) == accounts.authenticate(basic("ann", "secret"))
    for name in ("ann", "bob"):
        with pytest.raises(AuthenticationError):
            accounts.authenticate(basic(name, "guess"))


def test_a_flood_of_passwords_is_told_to_come_again(store: DictMemoryStore) -> None:
    """So many wait to be checked, and no more; whoever is remembered is not held up."""
    checking, go_on = threading.Event(), threading.Event()

    class Slow(Accounts):
        def authenticate(self, header: str | None) -> Identity:
            checking.set()
            assert go_on.wait(10)
            return Identity("somebody")

    ask = asker_of(store, authenticator=Slow(ACCOUNTS))

    async def flood() -> list[int]:
        transport = httpx.ASGITransport(ask.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:

            async def get(header: str) -> int:
                answer = await client.get("/info", headers={"Authorization": header})
                return answer.status_code

            waiting = [asyncio.create_task(get(basic("ann", str(number)))) for number in range(70)]
            refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert {503} == {task.result() for task in refused}
            assert 200 == await get("Bearer one")
            go_on.set()
            return sorted(await asyncio.gather(*waiting))

    found = asyncio.run(flood())
    ask.app.close()

    assert [200] * 64 + [503] * 6 == found


def test_nothing_shows_a_password() -> None:
    """What is printed of an account has no hash of a password or token in it."""
    shown = repr(ACCOUNTS)

    assert "scrypt" not in shown
    assert "sha256" not in shown
