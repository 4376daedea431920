"""Words for the errors of pydantic: what is wrong, and what is right."""

from __future__ import annotations

from typing import Any

SCALARS = ("bool", "int", "float", "str")
"""Names that pydantic adds to the place of an error in a union of scalars."""

_NO_SCALAR = ("bool_type", "int_type", "float_type", "string_type", "finite_number")


def problem(item: Any) -> str:
    """One error of a `pydantic.ValidationError` in a few words."""
    kind, context, given = item["type"], item.get("ctx", {}), item.get("input")
    if kind == "extra_forbidden":
        return "unknown key; remove it or mend its spelling"
    if kind == "missing":
        return (
            "is missing; add it"
            if isinstance(item["loc"][-1], str)
            else "expected two values, the lower and the upper end"
        )
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected {context['expected']}, got {given!r}"
    if kind == "string_pattern_mismatch":
        return f"expected 1 to 63 of a-z, 0-9, '.', '_', '-', the first a letter or digit, got {given!r}"
    if item["loc"] and item["loc"][-1] in SCALARS and kind in _NO_SCALAR:
        return f"expected a finite number, text, true or false, got {noun(given)}"
    text = item["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    text = {"an object": "a mapping", "a valid array": "a list"}.get(text, text)
    return f"expected {text}, got {noun(given)}" if item["msg"].startswith("Input should be") else text


def noun(value: Any) -> str:
    """What a value of a YAML file is called in an error."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "nothing" if value is None else repr(value)
