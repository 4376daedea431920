"""One Postgres for the folder, a fresh database for each test, no process left behind; a table of faults at the end."""

from __future__ import annotations

import pytest

from tests.support.fixtures import empty_url, nothing_left, postgres, template, url

__all__ = ["empty_url", "nothing_left", "postgres", "template", "url"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each fault cost, beside what it costs plain Optuna where that was run."""
    ours: dict[str, str] = {}
    plain: dict[str, str] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            told = dict(report.user_properties) if isinstance(report, pytest.TestReport) else {}
            if "plain" in told:
                plain[told["fault"]] = told["plain"]
            elif "fault" in told:
                ours[told["fault"]] = "nothing" if outcome == "passed" else "FAILED"
    if ours:
        terminalreporter.section("what each fault cost")
        terminalreporter.write_line("| fault | spikefront | plain Optuna |\n|---|---|---|")
    for fault, words in ours.items():
        terminalreporter.write_line(f"| {fault} | {words} | {plain.get(fault, '')} |")
