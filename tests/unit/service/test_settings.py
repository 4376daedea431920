"""Settings from the environment, and the command line's small helpers."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import cli
from service.errors import UsageError
from service.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("SPIKEFRONT_"):
            monkeypatch.delenv(name)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.var == Path("var")
    assert settings.data_folder == Path("var/data")
    assert (settings.lease_s, settings.checkpoint_s) == (30.0, 10.0)
    assert (settings.database_url, settings.token, settings.server) == (None, None, None)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKEFRONT_VAR", "/srv/x")
    monkeypatch.setenv("SPIKEFRONT_LEASE_S", "5")
    assert load_settings().data_folder == Path("/srv/x/data")
    assert load_settings().lease_s == 5.0
    monkeypatch.setenv("SPIKEFRONT_DATA", "/data")
    assert load_settings().data_folder == Path("/data")


def test_secrets_do_not_show() -> None:
    settings = Settings(
        database_url="postgresql://u:hush@h/d",
        token="hush",
        worker_token="hush",
        viewer_token="hush",
    )
    for text in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
        assert "hush" not in text
    assert settings.token is not None
    assert settings.token.get_secret_value() == "hush"


@pytest.mark.parametrize(
    ("name", "value"),
    [("LEASE_S", "soon"), ("LEASE_S", "0"), ("LEASE_S", "-1"), ("LEASE_S", "nan"), ("LEASE_S", "inf"),
     ("LEASE_S", "1e300"), ("CHECKPOINT_S", "-1"), ("CHECKPOINT_S", "nan"), ("CHECKPOINT_S", "x")],
)  # fmt: skip
def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"SPIKEFRONT_{name}", value)
    with pytest.raises(UsageError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"SPIKEFRONT_{name}: ")
    assert value in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().var = Path("x")  # type: ignore[misc]


def test_changes_are_json_or_text() -> None:
    found = cli._changes(
        ["budget.trials=200", "notes=a = b", "budget.hours=1.5", "versions=any", "a=true", 'b="1"', "c="]
    )
    assert found == {
        "budget.trials": 200, "notes": "a = b", "budget.hours": 1.5, "versions": "any", "a": True, "b": "1", "c": "",
    }  # fmt: skip
    assert cli._changes(None) == {}


@pytest.mark.parametrize("item", ["budget.trials", "", "budget.trials:200"])
def test_a_change_without_a_value_is_refused(item: str) -> None:
    with pytest.raises(UsageError, match=r"expected FIELD=VALUE, such as budget\.trials=200"):
        cli._changes([item])


@pytest.mark.parametrize("value", ["[1]", "{}", "null", "NaN", "Infinity"])
def test_a_change_is_a_scalar(value: str) -> None:
    with pytest.raises(UsageError, match=r"--set budget\.trials: expected a number"):
        cli._changes([f"budget.trials={value}"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_token(host: str) -> None:
    assert cli._checked(host) == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "lab.example", "127.0.0.1.evil.example", ""])
def test_other_addresses_need_one(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(UsageError, match="is not loopback: set SPIKEFRONT_TOKEN"):
        cli._checked(host)
    monkeypatch.setenv("SPIKEFRONT_TOKEN", "")
    with pytest.raises(UsageError, match="is not loopback"):
        cli._checked(host)
    monkeypatch.setenv("SPIKEFRONT_TOKEN", "hush")
    assert cli._checked(host) == host
