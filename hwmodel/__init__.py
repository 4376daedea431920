"""Arithmetic model of an event-driven SNN accelerator: spike counts in; cycles, seconds and joules out."""
