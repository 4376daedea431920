"""Durable state in Postgres: Optuna's tables as the record, and the schema `spikefront` beside them."""
