"""Alembic's entry: run the migrations of the schema `spikefront` on the connection that `storage.schema` gives."""

from __future__ import annotations

from alembic import context

from storage.tables import SCHEMA, VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
