"""Serves stores over HTTP, for ``DynamicURLStore``, ``StaticURLStore`` and others."""
