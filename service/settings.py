"""Settings from the environment, read once in `main()`; secrets never show in `repr`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.errors import UsageError


class Settings(BaseSettings):
    """Environment of a server, a worker or a command."""

    model_config = SettingsConfigDict(env_prefix="SPIKEFRONT_", extra="ignore", frozen=True)

    database_url: SecretStr | None = Field(
        default=None, description="A Postgres of yours; without it an embedded one lives under var."
    )
    var: Path = Field(default=Path("var"), description="Folder for run-time data: database, artifacts, spool, logs.")
    data: Path | None = Field(default=None, description="Folder of the data sets; default var/data.")
    token: SecretStr | None = Field(
        default=None, description="Admin token of the server; made and kept in var/token when absent."
    )
    worker_token: SecretStr | None = Field(default=None, description="Token that may lease trials only.")
    viewer_token: SecretStr | None = Field(default=None, description="Token that may only look.")
    server: str | None = Field(default=None, description="URL of the study server, for workers.")
    lease_s: float = Field(
        default=30.0, gt=0.2, le=86_400, description="Lease time in seconds; a worker renews three times in it."
    )
    checkpoint_s: float = Field(
        default=10.0, ge=0, description="Least time between two checkpoints of a trial, in seconds."
    )

    @property
    def data_folder(self) -> Path:
        """Where data sets lie."""
        return self.data or self.var / "data"


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        UsageError: A variable has a value it cannot have.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "SPIKEFRONT_" + "_".join(map(str, first["loc"])).upper()
        raise UsageError(f"{name}: {first['msg']}, got {first['input']!r}") from error
