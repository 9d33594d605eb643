"""Ours by the broker's messages alone."""

from __future__ import annotations

from benchmarks.caches.case import Servers, Write
from benchmarks.caches.peers import antiphon_mount
from benchmarks.caches.peers.antiphon_mount import MountReader

NAME = "antiphon, events"
SAYS = "the same with CacheInvalidator(…, tails_journal=False): by the broker's messages alone"
SYSTEM = "bench-caches-events"


def open_writer(servers: Servers) -> Write:
    """Connect."""
    return antiphon_mount.open_writer(servers, SYSTEM)


def open_reader(servers: Servers) -> MountReader:
    """Connect, and begin to keep the cache right."""
    return MountReader(servers, SYSTEM, tails_journal=False)
