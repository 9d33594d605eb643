"""A Redis that a test kills: so that it loses nothing by that, and the files of its data."""

from __future__ import annotations

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

from antiphon.testing.servers import Redis

#: Name of a file below the data folder -> its content.
Files = dict[str, bytes]


def make_durable(server: Redis) -> None:
    """Have a Redis that runs lose nothing that it confirmed; a restart takes that back.

    With ``appendfsync everysec`` it answers, while the disk is slow, before it
    has written, and a kill takes what waits.
    """
    server.command("CONFIG", "SET", "appendfsync", "always")


def start(server: Redis) -> None:
    """Start a Redis that was killed, durable again."""
    server.start()
    server.wait_ready()
    make_durable(server)


def restart(server: Redis) -> None:
    """Kill a Redis, and start it durable again."""
    server.kill()
    start(server)


def read_data(server: Redis) -> Files:
    """Return all files of a stopped Redis."""
    folder = _folder(server)
    if folder is None:
        pieces, _ = _container(server).get_archive("/data")
        with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
            members = [member for member in archive if member.isfile()]
            return {m.name.partition("/")[2]: _content(archive, m) for m in members}
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def write_data(server: Redis, files: Files) -> None:
    """Replace the files of a stopped Redis."""
    folder = _folder(server)
    if folder is None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(content), 0o666
                archive.addfile(member, io.BytesIO(content))
        _container(server).put_archive("/data", packed.getvalue())
        return
    shutil.rmtree(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _folder(server: Redis) -> Path | None:
    folder: Path | None = getattr(server, "folder", None)
    return None if folder is None else folder / "data"


def _container(server: Redis) -> Any:
    return server._container  # type: ignore[attr-defined]


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    with file:
        return file.read()
