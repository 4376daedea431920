"""`/login` and `/logout`: a token or a printed link becomes a cookie."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import FileResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from service.auth import COOKIE, COOKIE_AGE_S, Auth

_FOLDER = Path(__file__).parents[1]
_CSP = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"


def router(auth: Auth) -> APIRouter:
    """Routes that anybody may call."""
    routes = APIRouter(include_in_schema=False)
    templates = Jinja2Templates(_FOLDER / "templates")

    def page(request: Request, target: str, *, refused: bool) -> Response:
        return templates.TemplateResponse(
            request,
            "login.html",
            {"next": _own_path(target), "refused": refused},
            status_code=401 if refused else 200,
            headers={"Content-Security-Policy": _CSP, "Cache-Control": "no-store"},
        )

    def enter(request: Request, key: str, target: str) -> Response:
        cookie = auth.redeem(key)
        if cookie is None:
            return page(request, target, refused=True)
        response = RedirectResponse(_own_path(target), status_code=303)
        response.set_cookie(COOKIE, cookie, max_age=COOKIE_AGE_S, httponly=True, samesite="lax")
        return response

    @routes.get("/login")
    def show(request: Request, key: Annotated[str, Query(max_length=200)] = "", next: str = "/ui") -> Response:
        return enter(request, key, next) if key else page(request, next, refused=False)

    @routes.post("/login")
    def submit(
        request: Request, key: Annotated[str, Form(max_length=200)], next: Annotated[str, Form()] = "/ui"
    ) -> Response:
        return enter(request, key.strip(), next)

    @routes.get("/login.css")
    def style() -> Response:
        return FileResponse(_FOLDER / "static" / "login.css", media_type="text/css")

    @routes.post("/logout")
    def leave() -> Response:
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE)
        return response

    return routes


def _own_path(target: str) -> str:
    """A path on this server; anything that could lead elsewhere becomes `/ui`."""
    is_own = target.startswith("/") and not target.startswith("//") and "\\" not in target and target.isprintable()
    return target if is_own else "/ui"
