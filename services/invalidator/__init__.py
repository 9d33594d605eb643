"""Keeps shared caches right: drops from them what changed at its source."""
