"""Antiphon: a distributed event system over a message broker."""
