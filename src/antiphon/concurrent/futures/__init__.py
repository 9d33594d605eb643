"""Executors beside those of ``concurrent.futures``, and schedulers that work on any executor."""

from antiphon.concurrent.futures.synchronous import SynchronousExecutor

__all__ = ["SynchronousExecutor"]
