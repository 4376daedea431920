"""Ports for servers that are to come back where they were."""

from __future__ import annotations

import random
import socket

BELOW_EPHEMERAL = range(20_000, 32_000)
"""Where Linux takes no ports from by itself, so that nobody gets one between the look and the bind."""


def free_port() -> int:
    """A port that nobody listens on."""
    chance = random.SystemRandom()
    while True:
        port = chance.choice(BELOW_EPHEMERAL)
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) != 0:
                return port
