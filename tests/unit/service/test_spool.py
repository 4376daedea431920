"""A computed result is on disk until the server has it, or wants it no more."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from service import wire
from service.client import Client
from service.errors import LeaseLost, NotAllowed, NotFound, ServiceError, TooLarge, Unavailable, UsageError
from service.spool import Spool
from tests.unit.service.factory import DIGEST, make_complete, make_lease

Plan = Callable[[str, int], ServiceError | None]


class FakeClient:
    """Notes what it is asked to deliver; `plan(call, trial)` says which error to raise."""

    def __init__(self, plan: Plan = lambda call, trial: None, folder: Path | None = None) -> None:
        self.plan, self.folder = plan, folder
        self.calls: list[tuple[str, int]] = []
        self.delivered: list[tuple[wire.Lease, bytes]] = []
        self.completed: list[tuple[int, wire.Message]] = []
        self.fronts: list[bytes] = []

    def weights(self, lease: wire.Lease, data: bytes) -> str:
        if self.folder is not None:
            assert len(list(self.folder.glob("*.json"))) == 1  # on disk before anything is sent
        self._play("weights", lease.trial_id)
        self.delivered.append((lease, data))
        return ""

    def hardware_front(self, lease: wire.Lease, data: bytes) -> str:
        self._play("hardware_front", lease.trial_id)
        self.fronts.append(data)
        return ""

    def send(self, trial_id: int, ending: str, message: wire.Message) -> None:
        self._play(ending, trial_id)
        self.completed.append((trial_id, message))

    def _play(self, call: str, trial: int) -> None:
        self.calls.append((call, trial))
        if error := self.plan(call, trial):
            raise error


def _as_client(fake: FakeClient) -> Client:
    return cast(Client, fake)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*")) if folder.exists() else []


def _away(call: str, trial: int) -> ServiceError:
    return Unavailable("away")


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Spool:
    ticks = iter(range(10**18, 10**18 + 100))
    monkeypatch.setattr("service.spool.time.time_ns", lambda: next(ticks))
    return Spool(tmp_path / "spool")


def _strand(spool: Spool, *trials: int) -> None:
    """Leave results on disk."""
    for trial in trials:
        with pytest.raises(Unavailable):
            spool.complete(_as_client(FakeClient(_away)), make_lease(trial_id=trial), make_complete(), b"w%d" % trial)


def test_a_result_is_on_disk_before_it_is_sent_and_gone_after(spool: Spool, tmp_path: Path) -> None:
    fake = FakeClient(folder=tmp_path / "spool")
    spool.complete(_as_client(fake), make_lease(), make_complete(), b"weights")
    assert fake.calls == [("weights", 17), ("complete", 17)]
    assert fake.delivered == [(make_lease(), b"weights")]
    assert fake.completed == [(17, make_complete())]
    assert _files(tmp_path / "spool") == []


@pytest.mark.parametrize("broken", ["weights", "complete"])
def test_a_result_stays_while_the_server_is_away(spool: Spool, tmp_path: Path, broken: str) -> None:
    fake = FakeClient(lambda call, trial: Unavailable("away") if call == broken else None)
    with pytest.raises(Unavailable):
        spool.complete(_as_client(fake), make_lease(), make_complete(), b"weights")
    assert [path.suffix for path in _files(tmp_path / "spool")] == [".json", ".safetensors"]
    later = FakeClient()
    Spool(tmp_path / "spool").deliver(_as_client(later))  # by the next process too
    assert later.delivered == [(make_lease(), b"weights")]
    assert later.completed == [(17, make_complete())]
    assert _files(tmp_path / "spool") == []


@pytest.mark.parametrize("broken", [None, "weights", "hardware_front", "complete"])
def test_a_hardware_front_goes_with_its_result_and_before_it(spool: Spool, tmp_path: Path, broken: str | None) -> None:
    result = make_complete(hardware_front=DIGEST)
    fake = FakeClient(lambda call, trial: Unavailable("away") if call == broken else None)
    with pytest.raises(Unavailable) if broken else contextlib.nullcontext():
        spool.complete(_as_client(fake), make_lease(), result, b"weights", b"front")
    if broken:
        assert [path.suffix for path in _files(tmp_path / "spool")] == [".front", ".json", ".safetensors"]
        fake = FakeClient()
        Spool(tmp_path / "spool").deliver(_as_client(fake))
    assert [call for call, _ in fake.calls] == ["weights", "hardware_front", "complete"]
    assert (fake.fronts, fake.completed) == ([b"front"], [(17, result)])
    assert _files(tmp_path / "spool") == []


@pytest.mark.parametrize("full", [".safetensors", ".front", ".json"])
def test_a_full_disk_costs_no_result_and_keeps_no_scraps(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, full: str
) -> None:
    def write(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        if path.suffix == full:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("service.spool._write_durably", write)
    fake, result = FakeClient(), make_complete(hardware_front=DIGEST)
    spool.complete(_as_client(fake), make_lease(), result, b"weights", b"front")
    assert (fake.delivered, fake.fronts) == ([(make_lease(), b"weights")], [b"front"])
    assert fake.completed == [(17, result)]
    assert _files(tmp_path / "spool") == []
    assert "No space left on device" in caplog.text


def test_a_folder_that_cannot_be_made_costs_no_result(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fake = FakeClient()
    Spool(tmp_path / "file" / "spool").complete(_as_client(fake), make_lease(), make_complete(), b"weights")
    assert fake.completed == [(17, make_complete())]


def test_a_result_that_another_worker_of_the_same_name_delivers_meanwhile_is_left_alone(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _strand(spool, 9)
    read = Path.read_bytes

    other, fake = FakeClient(), FakeClient()
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) if other.calls else late(path))

    def late(path: Path) -> bytes:
        if path.suffix == ".safetensors":
            other.calls.append(("begins", 0))
            Spool(tmp_path / "spool").deliver(_as_client(other))
        return read(path)

    spool.deliver(_as_client(fake))
    assert (len(other.completed), fake.completed) == (1, [])
    assert _files(tmp_path / "spool") == []


def test_results_are_delivered_in_the_order_in_which_they_were_computed(spool: Spool, tmp_path: Path) -> None:
    _strand(spool, 9, 3, 5)
    fake = FakeClient()
    spool.deliver(_as_client(fake))
    assert [trial for trial, _ in fake.completed] == [9, 3, 5]
    assert [data for _, data in fake.delivered] == [b"w9", b"w3", b"w5"]
    assert _files(tmp_path / "spool") == []


def test_delivery_ends_where_the_server_goes_away_again(spool: Spool) -> None:
    _strand(spool, 9, 3, 5)
    fake = FakeClient(lambda call, trial: Unavailable("away") if trial == 3 else None)
    with pytest.raises(Unavailable):
        spool.deliver(_as_client(fake))
    assert [trial for trial, _ in fake.completed] == [9]
    again = FakeClient()
    spool.deliver(_as_client(again))
    assert [trial for trial, _ in again.completed] == [3, 5]


@pytest.mark.parametrize(
    "error", [LeaseLost("taken"), NotFound("gone"), UsageError("not valid"), TooLarge("too large")]
)
def test_a_result_that_nobody_wants_is_dropped(spool: Spool, tmp_path: Path, error: ServiceError) -> None:
    fake = FakeClient(lambda call, trial: error if call == "complete" else None)
    with pytest.raises(type(error)):
        spool.complete(_as_client(fake), make_lease(), make_complete(), b"weights")
    assert _files(tmp_path / "spool") == []


def test_dropping_one_does_not_hold_up_the_others(
    spool: Spool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _strand(spool, 9, 3, 5)
    fake = FakeClient(lambda call, trial: LeaseLost("taken over") if (call, trial) == ("complete", 3) else None)
    spool.deliver(_as_client(fake))
    assert [trial for trial, _ in fake.completed] == [9, 5]
    assert "spooled result dropped: taken over" in caplog.text
    assert _files(tmp_path / "spool") == []


def test_a_reply_lost_after_the_commit_counts_as_delivered(spool: Spool, tmp_path: Path) -> None:
    """The trial is finished by this very result: weights are refused, the repeated complete is a success."""
    _strand(spool, 9)
    fake = FakeClient(lambda call, trial: LeaseLost("the trial is finished") if call == "weights" else None)
    spool.deliver(_as_client(fake))
    assert fake.calls == [("weights", 9), ("complete", 9)]
    assert fake.completed == [(9, make_complete())]
    assert _files(tmp_path / "spool") == []


def test_a_worker_without_the_right_token_keeps_its_results(spool: Spool, tmp_path: Path) -> None:
    _strand(spool, 9)
    with pytest.raises(NotAllowed):
        spool.deliver(_as_client(FakeClient(lambda call, trial: NotAllowed("log in"))))
    assert len(_files(tmp_path / "spool")) == 2


def test_what_was_not_written_to_its_end_is_not_delivered(spool: Spool, tmp_path: Path) -> None:
    _strand(spool, 9)
    (tmp_path / "spool" / "00000000000000000001-1-1.part").write_bytes(b"{")
    (tmp_path / "spool" / "00000000000000000001-1-1.safetensors").write_bytes(b"weights without a result")
    fake = FakeClient()
    spool.deliver(_as_client(fake))
    assert [trial for trial, _ in fake.completed] == [9]


def test_nothing_to_deliver(spool: Spool) -> None:
    fake = FakeClient()
    spool.deliver(_as_client(fake))
    assert fake.calls == []


def test_what_comes_back_from_disk_is_what_went_there(spool: Spool) -> None:
    lease = make_lease(trial_id=9, weights=None, checkpoints=(wire.Blob(fence=1, sha256="ab" * 32),))
    result = make_complete(values={"accuracy": 0.1 + 0.2}, details={"nested": [1, {"a": None}], "e": 1e-300})
    with pytest.raises(Unavailable):
        spool.complete(_as_client(FakeClient(_away)), lease, result, bytes(range(256)))
    fake = FakeClient()
    spool.deliver(_as_client(fake))
    assert fake.delivered == [(lease, bytes(range(256)))]
    assert fake.completed == [(9, result)]
    params: dict[str, Any] = dict(fake.delivered[0][0].params)
    assert {name: type(value) for name, value in params.items()} == {
        name: type(value) for name, value in lease.params.items()
    }
