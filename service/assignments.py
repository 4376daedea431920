"""Options of commands that name things and give each a number."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import UsageError


def numbers(items: Sequence[str], option: str, example: str) -> dict[str, float]:
    """Numbers by name, from words such as `luts=20000`.

    Args:
        items: What the option was given, each time.
        option: Its name, for the message.
        example: A good use of it, for the message.

    Raises:
        UsageError: One is no name with a number.
    """
    found: dict[str, float] = {}
    for item in items:
        name, _, value = item.partition("=")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise UsageError(f"{option} {item}: expected NAME=NUMBER, such as {example}") from error
    return found
