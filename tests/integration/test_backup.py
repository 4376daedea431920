"""Backups on a real Postgres: consistent while others write, whole or not at all, and a study goes on from them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from pydantic import SecretStr

from service.backup import back_up, restore
from service.errors import UsageError
from service.record import open_record
from service.reports import FRONT_DIGEST
from service.server import bind, serving
from service.settings import Settings
from storage import backup
from storage.artifacts import Artifacts
from storage.errors import BackupError
from storage.programs import programs_for
from tests.support.desk import Desk, opened
from tests.support.postgres import eventually
from tests.support.processes import Place, audit, scalar
from tests.support.studies import study_text


def settings_of(url: str, var: Path) -> Settings:
    return Settings(database_url=SecretStr(url), var=var)


def busy(desk: Desk) -> None:
    """Two complete trials and one in the middle of its training, with two checkpoints."""
    desk.start(budget={"trials": 6})
    for _ in range(2):
        desk.complete(desk.lease())
    training = desk.lease()
    for epoch in (1, 2):
        desk.checkpoint(training, epoch, f"state after epoch {epoch}".encode())


def saved(url: str, folder: Path) -> Path:
    """A backup of a busy desk that is closed again."""
    var = folder / "saved"
    with opened(url, var / "artifacts", lease_s=0.3) as desk:
        busy(desk)
    file = folder / "backup.tar"
    back_up(settings_of(url, var), file)
    return file


def contents(url: str, folder: Path) -> list[Any]:
    with opened(url, folder / "artifacts") as desk:
        return desk.snapshot()


def artifacts_in(var: Path) -> dict[str, bytes]:
    folder = var / "artifacts"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}


def rewritten(file: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The archive with members changed."""
    with tarfile.open(file) as tar:
        members = {name: tar.extractfile(name).read() for name in tar.getnames()}  # type: ignore[union-attr]
    change(members)
    other = file.with_name("other.tar")
    with tarfile.open(other, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return other


def with_manifest(**fields: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps(json.loads(members["manifest.json"]) | fields).encode()

    return change


def test_everything_comes_back_and_the_interrupted_trial_goes_on(url: str, empty_url: str, tmp_path: Path) -> None:
    file = saved(url, tmp_path)
    var = tmp_path / "restored"

    done = restore(settings_of(empty_url, var), file)

    assert (done.manifest.studies, done.manifest.trials, done.lost) == (1, 3, [])
    assert contents(empty_url, var) == contents(url, tmp_path / "saved")
    assert artifacts_in(var) == artifacts_in(tmp_path / "saved")
    assert len(artifacts_in(var)) == 4
    with opened(empty_url, var / "artifacts") as desk:
        before = [trial.values for trial in desk.record.trials(desk.studies.row("tiny").study_id)][:2]
        training = desk.lease()
        assert (training.number, training.fence) == (2, 2)
        newest = training.checkpoints[0]
        assert desk.reports.blob(training.trial_id, newest.fence, newest.sha256) == b"state after epoch 2"
        desk.complete(training)
        desk.drain()
        trials = desk.record.trials(desk.studies.row("tiny").study_id)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 6
    assert [trial.values for trial in trials][:2] == before


def test_a_trained_study_restored_elsewhere_ends_bit_equal_to_the_one_that_went_on(
    url: str, empty_url: str, tmp_path: Path
) -> None:
    fields: dict[str, Any] = {"budget": {"trials": 3}, "train": {"epochs": 40, "batch": 8, "lr": 0.005}}
    file, archive = tmp_path / "tiny.yaml", tmp_path / "backup.tar"
    file.write_text(study_text(**fields))
    with Place(tmp_path / "first", url) as first, Place(tmp_path / "second", empty_url) as second:
        run = first.start("run", str(file), "--workers", "1", "--port", "0", CHECKPOINT_S="0", LEASE_S="3")
        reached = "SELECT max(epoch) FROM spikefront.lease WHERE ended_at IS NULL"
        eventually(lambda: (scalar(url, reached) or 0) >= 2, "the first trial is trained for two epochs", 60.0)
        live = first.run("admin", "backup", str(archive))
        assert live.process.returncode == 0, live.stderr()
        assert re.search(r"backup\.tar: 1 study, \d trials?, \d+ artifacts?; ", live.stdout())

        restored = second.run("admin", "restore", str(archive))
        resumed = second.start("resume", "tiny", "--workers", "1", "--port", "0")

        assert restored.process.returncode == 0, restored.stderr()
        assert [run.wait(), resumed.wait()] == [0, 0], resumed.stderr()
        one, two = (
            [(trial.params, trial.values, trial.user_attrs["seed"]) for trial in audit(place, "tiny", 3)]
            for place in (url, empty_url)
        )
    assert two == one
    taken = "SELECT message FROM spikefront.event WHERE kind = 'taken over' ORDER BY event_id LIMIT 1"
    assert "from epoch" in scalar(empty_url, taken)


class Pruned(Artifacts):
    """The server prunes a checkpoint in the moment in which a backup wants to read it."""

    def __init__(self, folder: Path, prunings: int, prune: Callable[[], None]) -> None:
        super().__init__(folder)
        self._left, self._prune = prunings, prune
        self.read_so_far: list[tuple[int, int, str]] = []

    def read(self, trial_id: int, fence: int, digest: str) -> bytes:
        self.read_so_far.append((trial_id, fence, digest))
        if self._left:
            self._left -= 1
            self._prune()
        return super().read(trial_id, fence, digest)


def test_a_checkpoint_pruned_meanwhile_makes_the_backup_begin_again(desk: Desk, tmp_path: Path) -> None:
    desk.start()
    training = desk.lease()
    desk.checkpoint(training, 1, b"state 1")
    desk.checkpoint(training, 2, b"state 2")

    def prune() -> None:
        for epoch in (3, 4):
            desk.checkpoint(training, epoch, f"state {epoch}".encode())

    store = Pruned(desk.folder, 1, prune)
    file = tmp_path / "backup.tar"

    manifest = backup.back_up(desk.record.engine, store, file, front_key=FRONT_DIGEST)

    with tarfile.open(file) as tar:
        assert {tar.extractfile(name).read() for name in manifest.artifacts} == {b"state 3", b"state 4"}  # type: ignore[union-attr]
    assert len(store.read_so_far) == 3


def test_a_missing_artifact_is_named_after_five_attempts_and_leaves_no_file(desk: Desk, tmp_path: Path) -> None:
    busy(desk)
    weights = desk.studies.weights_of("tiny", 0)
    assert weights is not None
    desk.reports._artifacts.remove(*weights)
    store, file = Pruned(desk.folder, 0, lambda: None), tmp_path / "out" / "backup.tar"
    file.parent.mkdir()

    with pytest.raises(BackupError, match=f"{weights[2]}.*5 attempts"):
        backup.back_up(desk.record.engine, store, file, front_key=FRONT_DIGEST)

    assert list(file.parent.iterdir()) == []
    assert store.read_so_far.count(weights) == 5


def test_a_hardware_front_is_part_of_a_backup(desk: Desk, tmp_path: Path) -> None:
    busy(desk)
    weights = desk.studies.weights_of("tiny", 0)
    assert weights is not None
    data = b"accelerators that were tried"
    digest = backup.sha256(data)
    desk.reports._artifacts.write(*weights[:2], data, digest)
    statement = "UPDATE spikefront.result SET details = details || jsonb_build_object(CAST(:key AS text), CAST(:digest AS text)) WHERE trial_id = :id RETURNING 1"  # noqa: E501
    assert scalar(desk.url, statement, key=FRONT_DIGEST, digest=digest, id=weights[0]) == 1

    manifest = backup.back_up(
        desk.record.engine, Artifacts(desk.folder), tmp_path / "backup.tar", front_key=FRONT_DIGEST
    )

    assert backup.Blob(*weights[:2], digest).member in manifest.artifacts


def test_stored_studies_are_lost_only_when_asked_for(url: str, empty_url: str, tmp_path: Path) -> None:
    file, var = saved(url, tmp_path), tmp_path / "other"
    with opened(empty_url, var / "artifacts") as desk:
        desk.start(name="other", budget={"trials": 1})
        desk.complete(desk.lease("other"), accuracy=0.9)
    before, files = contents(empty_url, var), artifacts_in(var)
    scalar(empty_url, "CREATE TABLE public.mine AS SELECT 7 AS number; SELECT 1")

    with pytest.raises(BackupError, match=r"would be lost: other \(1 trials\); give --force"):
        restore(settings_of(empty_url, var), file)

    assert (contents(empty_url, var), artifacts_in(var)) == (before, files)
    done = restore(settings_of(empty_url, var), file, force=True)

    assert [count.name for count in done.lost] == ["other"]
    assert contents(empty_url, var) == contents(url, tmp_path / "saved")
    assert artifacts_in(var) == artifacts_in(tmp_path / "saved")
    assert scalar(empty_url, "SELECT number FROM public.mine") == 7


ALTERED = {
    "dump": (lambda members: members.update({"database.dump": members["database.dump"][:-9]}), "database.dump does"),
    "missing": (lambda members: members.pop(next(name for name in members if "/" in name)), "it does not hold"),
    "more": (lambda members: members.update({"../evil": b"x"}), "it does not hold the files"),
    "artifact": (
        lambda members: members.update({next(name for name in members if "/" in name): b"other"}),
        "does not hash to its name",
    ),
    "no manifest": (lambda members: members.pop("manifest.json"), "it has no manifest.json"),
    "newer": (with_manifest(revisions={"optuna": "v3.2.0.a", "spikefront": "9999"}), "revision 9999.*install a newer"),
    "odd": (with_manifest(artifacts=["artifacts/../../x"]), "manifest.json: artifacts.0: "),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("good")


@pytest.mark.parametrize("kind", ALTERED)
def test_an_altered_backup_is_refused_before_anything_changes(kind: str, url: str, good: Path, tmp_path: Path) -> None:
    file = good / "backup.tar"
    if not file.exists():
        assert saved(url, good) == file
    change, words = ALTERED[kind]
    before, var = contents(url, tmp_path), tmp_path / "var"

    with pytest.raises(BackupError, match=words):
        restore(settings_of(url, var), rewritten(file, change), force=True)

    assert contents(url, tmp_path) == before
    assert list(var.iterdir()) == []


def test_what_is_no_archive_is_refused(url: str, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(b"no archive" * 100)
    with pytest.raises(BackupError, match="not a backup"):
        restore(settings_of(url, tmp_path / "var"), file)
    with pytest.raises(BackupError, match=r"absent\.tar: No such file"):
        restore(settings_of(url, tmp_path / "var"), tmp_path / "absent.tar")


def test_a_restore_that_fails_half_way_leaves_the_database_as_it_was(url: str, empty_url: str, tmp_path: Path) -> None:
    """An index of somebody else's has a name that the dump brings: the drop goes well, a later statement does not."""
    file, var = saved(url, tmp_path), tmp_path / "var"
    with opened(empty_url, var / "artifacts") as desk:
        desk.start(name="other")
    before = contents(empty_url, var)
    scalar(
        empty_url,
        "ALTER INDEX public.ix_trials_study_id RENAME TO moved; CREATE TABLE public.mine (number int); "
        "CREATE INDEX ix_trials_study_id ON public.mine (number); SELECT 1",
    )

    with pytest.raises(BackupError, match=r'the database is as it was.*"ix_trials_study_id" already exists'):
        restore(settings_of(empty_url, var), file, force=True)

    assert contents(empty_url, var) == before


def test_no_restore_under_a_server(url: str, empty_url: str, tmp_path: Path) -> None:
    file, settings = saved(url, tmp_path), settings_of(empty_url, tmp_path / "var")
    settings.var.mkdir()
    elsewhere = settings_of(empty_url, tmp_path / "elsewhere")
    with open_record(empty_url, settings.var) as record, serving(record, settings, bind("127.0.0.1", 0)):
        with pytest.raises(UsageError, match=r"a study server works on .*; stop it first"):
            restore(settings, file)
        with record.engine.connect(), pytest.raises(BackupError, match="open on this database"):
            restore(elsewhere, file)


def test_no_backup_over_a_file_or_of_nothing(url: str, empty_url: str, tmp_path: Path) -> None:
    file = saved(url, tmp_path)
    settings, first = settings_of(url, tmp_path / "saved"), file.read_bytes()
    with pytest.raises(UsageError, match=r"backup.tar exists; .*--force"):
        back_up(settings, file)
    assert file.read_bytes() == first
    back_up(settings, file, force=True)
    assert file.read_bytes() != first
    with pytest.raises(BackupError, match="nothing to back up"):
        back_up(settings_of(empty_url, tmp_path), tmp_path / "new.tar")
    with pytest.raises(UsageError, match="there is no database"):
        back_up(Settings(var=tmp_path / "nowhere"), tmp_path / "new.tar")
    with pytest.raises(BackupError, match=r"cannot be written: No such file"):
        back_up(settings, tmp_path / "absent" / "new.tar")


def test_another_major_version_needs_its_own_programs(desk: Desk) -> None:
    words = "needs the pg_dump, pg_restore and psql of Postgres 99"
    with pytest.raises(BackupError, match=words), programs_for(desk.record.engine, 99):
        raise AssertionError("there is no Postgres 99")


def test_the_password_stands_in_a_private_file_only(desk: Desk) -> None:
    password = desk.record.engine.url.password
    assert password
    with programs_for(desk.record.engine, 18) as programs:
        file = Path(programs.environment["PGSERVICEFILE"])
        assert f"password={password}" in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
    assert not file.exists()
