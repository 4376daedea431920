"""`/ui`: the list of studies and the page of one study, with their scripts, styles and plotly."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from mimetypes import guess_type
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service import wire
from service.errors import NotFound
from service.routes import view, words
from service.studies import Studies

PACKAGE = Path(__file__).resolve().parent.parent
PLOTLY = version("plotly")
PLOTLY_PATH = f"/ui/static/plotly-{PLOTLY}/plotly.min.js"

CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'; style-src 'self' "
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "  # the empty style element that plotly fills through CSSOM
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='"  # its map styles, of exactly the pinned plotly
)
"""Neither inline scripts nor inline styles; the two hashes are of style elements that plotly adds itself."""


def router(studies: Studies) -> APIRouter:
    """Routes for people with a browser."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/ui")
    @routes.get("/ui/")
    def overview(request: Request) -> Response:
        rows = view.studies_page(studies)
        return _page("studies.html", rows=rows, now=datetime.now(UTC), running=_running(rows))

    @routes.get("/ui/s/{name}")
    def study(request: Request, name: str) -> Response:
        try:
            if not re.fullmatch(wire.STUDY_NAME, name):
                raise NotFound(f"there is no study {name!r}")
            shown = view.study_page(studies, name, view.wanted(request.query_params))
        except NotFound:
            return _page("missing.html", status_code=404, name=name, names=studies.names())
        return _page("study.html", plotly=PLOTLY_PATH, **shown)

    @routes.get(PLOTLY_PATH)
    def plotly(request: Request) -> Response:
        return _plotly(accepts_gzip="gzip" in request.headers.get("accept-encoding", ""))

    @routes.get("/ui/static/{file}")
    def static(request: Request, file: str) -> Response:
        return _static(file, request.headers.get("if-none-match", ""))

    return routes


def _page(template: str, *, status_code: int = 200, **shown: Any) -> HTMLResponse:
    headers = {
        "Content-Security-Policy": CSP,
        "Cache-Control": "private, no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(_templates().get_template(template).render(**shown), status_code, headers)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(PACKAGE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": words.number,
        "duration": words.duration,
        "clock": words.clock,
        "parameter": words.parameter,
        "for_script": words.for_script,
    }
    environment.globals |= {"amount": words.amount, "change": words.change, "spark": view.spark}
    environment.globals |= {"objective_words": words.OBJECTIVES, "baseline_missing": view.BASELINE_MISSING}
    return environment


@dataclass(frozen=True)
class StaticFile:
    """A file of ours as it is served."""

    body: bytes
    etag: str
    media_type: str


@cache
def _static_files() -> dict[str, StaticFile]:
    return {path.name: _load(path) for path in sorted((PACKAGE / "static").iterdir()) if path.is_file()}


def _load(path: Path) -> StaticFile:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    media_type = "text/javascript" if path.suffix == ".js" else guess_type(path.name)[0] or "application/octet-stream"
    return StaticFile(body, etag, media_type)


def _static(name: str, known: str) -> Response:
    """One file by its exact name; nothing else of the disk can be asked for."""
    file = _static_files().get(name)
    if file is None:
        raise NotFound(f"the pages have no file {name!r}")
    headers = {"ETag": file.etag, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    if file.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)


@cache
def _packed_plotly() -> bytes:
    """plotly.js out of the installed wheel, compressed once."""
    return gzip.compress((files("plotly") / "package_data" / "plotly.min.js").read_bytes(), mtime=0)


def _plotly(*, accepts_gzip: bool) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    headers["X-Content-Type-Options"] = "nosniff"
    if not accepts_gzip:
        return Response(gzip.decompress(_packed_plotly()), media_type="text/javascript", headers=headers)
    return Response(_packed_plotly(), media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})


def _running(rows: list[dict[str, Any]]) -> int:
    return sum(row["status"]["state"] == "running" for row in rows)
