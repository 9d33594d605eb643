"""The threads in which stores work, so that the event loop never waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from antiphon.server.answers import RETRY_AFTER_S, Refused

_T = TypeVar("_T")

#: Threads for what is short, and for uploads: each waits for its client, so
#: that slow clients must not take the threads of the quick ones.
SHORT_THREADS = 16
UPLOAD_THREADS = 32

#: Threads that check passwords, which is slow on purpose: a flood of wrong
#: ones must not take the processor from everyone else.
_PASSWORD_THREADS = 1

#: Requests whose passwords may wait to be checked; more are told to come again.
_WAITING_PASSWORDS = 64


class Workers:
    """Threads for stores; started when they are needed.

    Args:
        short_threads: run requests whose body is there, and read pieces of answers.
        upload_threads: run requests whose body is still coming.
    """

    def __init__(
        self, short_threads: int = SHORT_THREADS, upload_threads: int = UPLOAD_THREADS
    ) -> None:
        self._short = ThreadPoolExecutor(short_threads, thread_name_prefix="store-http")
        self._uploads = ThreadPoolExecutor(upload_threads, thread_name_prefix="store-upload")
        self._passwords = ThreadPoolExecutor(_PASSWORD_THREADS, thread_name_prefix="store-password")
        self._checking = 0

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """Return what *work* does in a thread for short work."""
        return await asyncio.get_running_loop().run_in_executor(self._short, work, *args)

    async def run_upload(self, work: Callable[..., _T], *args: Any) -> _T:
        """Return what *work* does in a thread that may wait for a client."""
        return await asyncio.get_running_loop().run_in_executor(self._uploads, work, *args)

    async def run_password(self, work: Callable[..., _T], *args: Any) -> _T:
        """Return what *work* does in a thread for checking passwords.

        Raises:
            Refused: too many wait already.
        """
        if self._checking >= _WAITING_PASSWORDS:
            raise Refused(
                503,
                "too many passwords are being checked",
                error="StoreUnavailable",
                headers=[(b"retry-after", b"%d" % RETRY_AFTER_S)],
            )
        self._checking += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._passwords, work, *args)
        finally:
            self._checking -= 1

    def release(self, close: Callable[[], None]) -> None:
        """Call *close* in a thread, soon; nobody waits for it."""
        try:
            self._short.submit(close)
        except RuntimeError:
            # The threads have ended, so that no one else uses it either.
            close()

    def close(self) -> None:
        """End the threads once they have done what they do.  Twice is fine."""
        for pool in (self._uploads, self._short, self._passwords):
            pool.shutdown(cancel_futures=True)
