"""Encore's tools for work in threads: see ``threadtools`` and ``futures``."""
