"""Users of a private broker."""

from __future__ import annotations

from antiphon.testing.servers import RabbitMQ


def add_user(
    broker: RabbitMQ,
    user: str,
    password: str,
    rights: tuple[str, str, str] = (".*", ".*", ".*"),
    virtual_host: str = "/",
) -> None:
    """Make *user* with patterns for configure, write and read in *virtual_host*."""
    patterns = ", ".join(_binary(right) for right in rights)
    broker.evaluate(  # type: ignore[attr-defined]
        f"rabbit_auth_backend_internal:delete_user({_binary(user)}, {_binary('test')})."
        if _has(broker, user)
        else "ok."
    )
    broker.evaluate(  # type: ignore[attr-defined]
        f"rabbit_auth_backend_internal:add_user({_binary(user)}, {_binary(password)}, "
        f"{_binary('test')}), "
        f"rabbit_auth_backend_internal:set_permissions({_binary(user)}, {_binary(virtual_host)}, "
        f"{patterns}, {_binary('test')})."
    )


def _has(broker: RabbitMQ, user: str) -> bool:
    answer = broker.evaluate(  # type: ignore[attr-defined]
        f"rabbit_auth_backend_internal:exists({_binary(user)})."
    )
    return answer.strip() == "true"


def _binary(text: str) -> str:
    """Return an Erlang binary of the UTF-8 of *text*."""
    return f"<<{','.join(str(byte) for byte in text.encode())}>>"
