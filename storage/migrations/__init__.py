"""Migrations of the schema `spikefront`, run by `storage.schema`."""
