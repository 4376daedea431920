"""The study server's application: API, pages, login, and Optuna's dashboard, behind one gate."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy import text
from sqlalchemy.exc import DataError, SQLAlchemyError
from starlette.exceptions import HTTPException

from objectives.errors import ObjectivesError
from service.auth import Auth
from service.dashboard import Dashboard
from service.errors import ServiceError
from service.gate import PROBLEMS, Gate, problem
from service.handout import Handout
from service.judging import Judging
from service.metrics import CONTENT_TYPE, Measured, Metrics
from service.record import Record
from service.reports import Reports
from service.routes import leases, login, pages, studies
from service.settings import Settings
from service.studies import Studies
from storage.artifacts import Artifacts
from storage.engine import first_line, is_transient
from storage.errors import DatabaseError, StorageError
from storage.ownership import Ownership

log = logging.getLogger(__name__)


def create_app(
    record: Record, auth: Auth, settings: Settings, ownership: Ownership, instance: str, *, loopback_only: bool = True
) -> Gate:
    """Put the server together.

    Args:
        record: The open database.
        auth: Tokens and cookies.
        settings: Lease times and the folder for artifacts.
        ownership: The studies that this server hands out.
        instance: Identifies this server among those that had its address before.
        loopback_only: Refuse requests for other hosts than this machine's loopback.
    """
    app = FastAPI(title="spikefront", version=version("spikefront"), docs_url=None, redoc_url=None, responses=PROBLEMS)
    all_studies = Studies(record)
    metrics = Metrics(record)
    handout = Handout(record, metrics, ownership, lease_s=settings.lease_s, checkpoint_s=settings.checkpoint_s)
    artifacts = Artifacts(settings.var / "artifacts")
    reports = Reports(record, metrics, artifacts, lease_s=settings.lease_s)
    app.include_router(leases.router(handout, reports, Judging(record, artifacts)))
    app.include_router(studies.router(all_studies))
    app.include_router(pages.router(all_studies))
    app.include_router(login.router(auth))
    _add_health(app, record, instance)
    _add_metrics(app, metrics)
    _add_errors(app)
    _add_end_of_api(app)
    app.mount("/", Dashboard(record.optuna))
    return Gate(Measured(app, metrics), auth, loopback_only=loopback_only)


def _add_health(app: FastAPI, record: Record, instance: str) -> None:
    @app.get("/healthz", summary="Whether server and database answer")
    def health() -> dict[str, str]:
        with record.engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        return {"status": "ok", "version": version("spikefront"), "instance": instance}


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    in_text = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/metrics", summary="Figures for Prometheus", response_class=Response, responses={200: in_text})
    def figures() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE)


def _add_end_of_api(app: FastAPI) -> None:
    @app.api_route(
        "/v1/{rest:path}", methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False
    )
    def nothing_here(request: Request) -> Response:
        here = f"{request.method} {request.url.path}"
        return problem(404, f"the API has no {here}; /openapi.json lists what it has")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ServiceError)
    def service_error(request: Request, error: ServiceError) -> Response:
        return problem(error.status, str(error))

    @app.exception_handler(ObjectivesError)
    def objectives_error(request: Request, error: ObjectivesError) -> Response:
        return problem(400, str(error))

    @app.exception_handler(StorageError)
    def storage_error(request: Request, error: StorageError) -> Response:
        return problem(503 if isinstance(error, DatabaseError) else 500, str(error))

    @app.exception_handler(SQLAlchemyError)
    def database_error(request: Request, error: SQLAlchemyError) -> Response:
        return _database_problem(error)

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> Response:  # raised again behind this answer, and so logged
        return problem(500, "the server has a bug here; its log tells more")

    @app.exception_handler(RequestValidationError)
    def validation_error(request: Request, error: RequestValidationError) -> Response:
        return problem(400, "; ".join(_words(item) for item in error.errors()[:5]))


def _database_problem(error: Exception) -> Response:
    if isinstance(error, DataError):
        return problem(400, f"the database cannot hold this: {first_line(error)}")
    if is_transient(error):
        log.warning("the database is away: %s", type(error).__name__, extra={"action": "request"})
        return problem(503, "the database is away for now; try again")
    raise error


def _words(item: Any) -> str:
    place = ".".join(str(part) for part in item["loc"] if part != "body")
    return f"{place}: {item['msg']}" if place else str(item["msg"])
