"""Publishes what was committed and never told: by processes that died, and by plain SQL."""
