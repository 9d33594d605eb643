"""Encore's utilities: see ``human_date``."""
