"""Read YAML into plain JSON values, remembering the line of every key and item."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from objectives.errors import SpecError

MAX_BYTES = 262_144
MAX_DEPTH = 32
MAX_INTEGER = 2**63 - 1
Path = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with decimal numbers only (`2e-3` is a float, `010` is ten, `1:30` is text), no dates."""


_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"),
    list("-+0123456789."),
)


@dataclass(frozen=True)
class Document:
    """A parsed YAML file.

    Attributes:
        source: Name shown in messages.
        value: Mappings, lists, strings, numbers, booleans and nulls only.
        lines: Line (from 1) of every key and item by its path; `()` is the document.
    """

    source: str
    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Line of `path`, or of the nearest enclosing key that stands in the file."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def message(self, path: Path, problem: str) -> str:
        """One line: `file:line: field: problem`."""
        field = ".".join(str(part) for part in path)
        return f"{self.source}:{self.line(path)}: {field + ': ' if field else ''}{problem}"


def parse(text: str, source: str) -> Document:
    """Parse one YAML document.

    Raises:
        SpecError: Not YAML, larger than 256 KiB, a key twice in one mapping, an alias, a tag, nested deeper than 32,
            or a key that is no text.
    """
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SpecError(f"{source}:1: the file is larger than 256 KiB; a study file is a page long")
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SpecError(_syntax_message(error, source)) from error
    except RecursionError as error:
        raise SpecError(f"{source}:1: nested deeper than {MAX_DEPTH} levels; a study file is flatter") from error
    lines: dict[Path, int] = {(): 1}
    value = None if node is None else _plain(node, (), lines, source, set())
    return Document(source, value, lines)


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int], source: str, seen: set[int]) -> Any:
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise SpecError(f"{source}:{line}: aliases (*name) are not used in a study file; write the value out")
    seen.add(id(node))
    if len(path) > MAX_DEPTH:
        raise SpecError(f"{source}:{line}: nested deeper than {MAX_DEPTH} levels; a study file is flatter")
    if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
        raise SpecError(f"{source}:{line}: cannot read {node.tag[:40]!r}: plain text, numbers and booleans only")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = _key(key_node, source)
            key_line = key_node.start_mark.line + 1
            if key in result:
                raise SpecError(
                    f"{source}:{key_line}: {'.'.join(map(str, (*path, key)))}: this key stands twice; keep one"
                )
            lines[(*path, key)] = key_line
            result[key] = _plain(value_node, (*path, key), lines, source, seen)
        return result
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            items.append(_plain(item, (*path, index), lines, source, seen))
        return items
    try:
        return _scalar(node)
    except ValueError as error:
        shown = str(node.value)[:40]
        raise SpecError(f"{source}:{line}: cannot read {shown!r}: plain text, numbers and booleans only") from error


def _scalar(node: yaml.Node) -> str | int | float | bool | None:
    """The value of a scalar.

    Raises:
        ValueError: Its tag is none of JSON's types, its text does not fit the tag, or it could not be stored.
    """
    text = str(node.value)
    text.encode()  # a lone surrogate raises here
    match node.tag.removeprefix("tag:yaml.org,2002:"):
        case "str" if "\0" not in text:
            return text
        case "null":
            return None
        case "bool" if text.lower() in yaml.SafeLoader.bool_values:
            return yaml.SafeLoader.bool_values[text.lower()]
        case "int" if abs(int(text)) <= MAX_INTEGER:
            return int(text)
        case "float":
            return float(re.sub(r"\.(inf|nan)$", r"\1", text.lower()))
    raise ValueError(node.tag)


def _key(node: yaml.Node, source: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise SpecError(f"{source}:{node.start_mark.line + 1}: a key must be plain text")
    return str(node.value)


def _syntax_message(error: yaml.YAMLError, source: str) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else 1
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{source}:{line}: not valid YAML: {problem}; check indentation, colons and brackets there"
