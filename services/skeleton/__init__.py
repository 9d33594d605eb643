"""What all services have in common: settings, JSON logs, health, metrics and a clean end.

A service subclasses :class:`Service` and :class:`ServiceSettings`, and its main is one
call of :func:`run`.
"""

from __future__ import annotations

from services.skeleton.bus import ServiceBus
from services.skeleton.runner import run
from services.skeleton.service import Service
from services.skeleton.settings import BadSettings, ServiceSettings

__all__ = ["BadSettings", "Service", "ServiceBus", "ServiceSettings", "run"]
