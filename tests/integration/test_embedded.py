"""The embedded Postgres on real processes: sharing, kill -9, stale files, odd surroundings."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2  # type: ignore[import-untyped]
import pytest

from storage import embedded
from storage import embedded_watch as watch
from storage.embedded import Account, EmbeddedPostgres
from storage.errors import EmbeddedError
from tests.support.postgres import dsn, eventually, wait_until_stopped

USER_SCRIPT = """
import sys
from pathlib import Path
from storage.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
server.close()
"""
NOBODY = pwd.getpwnam("nobody").pw_uid
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
User = subprocess.Popen[str]
Join = Callable[..., User]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of mode 0700 whose server and watchdog are gone after the test, whatever happened in it."""
    top = Path(tempfile.mkdtemp(prefix="spikefront-test-embedded-"))
    place = top / "var" / "postgres"
    yield place
    try:
        if place.exists():
            wait_until_stopped(place)
    finally:
        for pid in watchdogs(place):
            os.kill(pid, signal.SIGKILL)
        watch.kill_processes(place / "data")
        shutil.rmtree(top)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(folder) as postgres:
        yield postgres


@pytest.fixture
def join(folder: Path) -> Iterator[Join]:
    """Starts another process that uses the same folder until its standard input is closed."""
    users: list[User] = []

    def start(*prefix: str, python: str = sys.executable, **options: Any) -> User:
        command = [*prefix, python, "-c", USER_SCRIPT, str(folder)]
        user = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        users.append(user)
        return user

    yield start
    for user in users:
        user.kill()
        user.communicate()


def everything(folder: Path) -> list[int]:
    """Ids of the server's processes and of the watchdogs of `folder`."""
    return watch.processes(folder / "data") + watchdogs(folder)


def watchdogs(folder: Path) -> list[int]:
    script, place = str(watch.__file__).encode(), str(folder).encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().split(b"\0")
            if script in words and place in words:
                found.append(int(path.parent.name))
    return found


def owner_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def url_of(user: User) -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def query(url: str, statement: str) -> Any:
    """First column of the first row, or None for a statement without rows; committed."""
    connection = psycopg2.connect(dsn(url))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def kill_postmaster(server: EmbeddedPostgres) -> None:
    running = watch.postmaster(server.data)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    eventually(lambda: watch.postmaster(server.data) is None, "the postmaster is dead")


def stop(server: EmbeddedPostgres) -> None:
    server.close()
    wait_until_stopped(server.folder)


def test_a_fresh_server_answers_with_the_settings_asked_for(server: EmbeddedPostgres) -> None:
    url = server.start()

    assert query(url, "SELECT current_database() || '/' || current_user") == "spikefront/spikefront"
    expected = {"data_checksums": "on", "fsync": "on", "jit": "off", "server_encoding": "UTF8"}
    expected |= {"max_connections": "60", "shared_buffers": "64MB", "lc_messages": "C"}
    assert {name: query(url, f"SHOW {name}") for name in expected} == expected


def test_the_server_listens_on_loopback_tcp_only_and_wants_the_password(server: EmbeddedPostgres) -> None:
    url = server.start()
    password = (server.folder / "password").read_text().strip()

    assert query(url, "SHOW listen_addresses") == "127.0.0.1"
    assert query(url, "SHOW unix_socket_directories") == ""
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    assert password in url
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(url.replace(password, "guess"), "SELECT 1")


def test_the_server_stops_after_the_last_of_two_users(server: EmbeddedPostgres, join: Join) -> None:
    url = server.start()
    other = join()
    assert url_of(other) == url

    server.close()
    assert query(url, "SELECT 1") == 1
    assert not watch.is_free(server.folder / "watch.lock")

    other.communicate("")
    assert other.returncode == 0
    eventually(lambda: everything(server.folder) == [], "no process is left")
    assert "database system is shut down" in server.log.read_text()


def test_the_watchdog_stops_the_server_after_kill_9_of_its_owner(folder: Path, join: Join) -> None:
    owner = join()
    query(url_of(owner), "CREATE TABLE kept AS SELECT 7 AS n")

    owner.send_signal(signal.SIGKILL)
    owner.wait()

    eventually(lambda: everything(folder) == [], "no process is left")
    with EmbeddedPostgres(folder) as server:
        assert query(server.start(), "SELECT n FROM kept") == 7


def test_start_again_after_kill_9_of_the_postmaster_keeps_data_and_address(server: EmbeddedPostgres) -> None:
    url = server.start()
    query(url, "CREATE TABLE kept AS SELECT 7 AS n")

    kill_postmaster(server)

    assert server.start() == url
    assert query(url, "SELECT n FROM kept") == 7


def test_a_busy_child_of_a_killed_postmaster_is_ended(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_PATIENCE_S", 0.2)
    url = server.start()
    busy = threading.Thread(target=_query_until_killed, args=(url,))
    busy.start()
    running = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query LIKE '%generate%'"
    eventually(lambda: query(url, running) == 1, "the long query runs")

    kill_postmaster(server)

    assert query(server.start(), "SELECT 1") == 1
    busy.join(timeout=20)
    assert not busy.is_alive()


def _query_until_killed(url: str) -> None:
    with pytest.raises(psycopg2.Error):  # InterfaceError from the roll-back, caused by OperationalError
        query(url, "SELECT count(*) FROM generate_series(1, 100000000000)")


def test_everything_dies_at_once_and_the_next_start_recovers(
    server: EmbeddedPostgres, folder: Path, join: Join
) -> None:
    owner = join()
    query(url_of(owner), "CREATE TABLE kept AS SELECT 7 AS n")

    for pid in (owner.pid, *watchdogs(folder)):
        os.kill(pid, signal.SIGKILL)
    watch.kill_processes(folder / "data")
    owner.wait()

    assert query(server.start(), "SELECT n FROM kept") == 7


def test_a_pid_file_that_names_another_live_process_is_removed(server: EmbeddedPostgres) -> None:
    server.start()
    lines = (server.data / "postmaster.pid").read_text().splitlines()
    stop(server)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (server.data / "postmaster.pid").write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
    try:
        assert query(server.start(), "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.communicate(b"\n")


def test_a_pid_file_that_names_the_postmaster_of_another_folder_is_removed(
    server: EmbeddedPostgres, folder: Path
) -> None:
    server.start()
    stop(server)
    with EmbeddedPostgres(folder.with_name("other")) as other:
        other_url = other.start()
        shutil.copy(other.data / "postmaster.pid", server.data / "postmaster.pid")
        url = server.start()

        assert query(url, "SHOW data_directory") == str(server.data)
        assert query(other_url, "SHOW data_directory") == str(other.data)
    wait_until_stopped(other.folder)


@pytest.mark.parametrize("length", [0, 3, 40])
def test_a_truncated_pid_file_does_not_stop_the_start(server: EmbeddedPostgres, length: int) -> None:
    server.start()
    kill_postmaster(server)
    with (server.data / "postmaster.pid").open("r+") as file:
        file.truncate(length)

    assert query(server.start(), "SELECT 1") == 1


def test_a_folder_with_a_space_below_a_private_one_works_and_no_mode_changes(folder: Path) -> None:
    private = folder / "private home"
    private.mkdir(parents=True, mode=0o700)
    before = {parent: parent.stat().st_mode for parent in (private, *private.parents)}

    with EmbeddedPostgres(private / "my studies" / "postgres") as server:
        assert query(server.start(), "SELECT 1") == 1
    wait_until_stopped(server.folder)

    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {parent: parent.stat().st_mode for parent in before} == before


def test_unknown_locales_and_postgres_variables_in_the_environment_do_no_harm(join: Join) -> None:
    odd = {
        "LANG": "xx_YY.UTF-8",
        "LC_ALL": "tlh_KX",
        "TZ": "Moon/Crater",
        "PGDATA": "/nowhere",
        "PGPORT": "1",
    }

    user = join(env=os.environ | odd | {"PGHOST": "nowhere.invalid", "PGSSLMODE": "require"})

    assert query(url_of(user), "SHOW lc_messages") == "C"


def test_six_processes_that_start_a_fresh_folder_at_once_share_one_server(folder: Path, join: Join) -> None:
    users = [join() for _ in range(6)]

    urls = {url_of(user) for user in users}

    assert len(urls) == 1
    assert query(urls.pop(), "SELECT 1") == 1
    assert (folder / "postgres.log").read_text().count("ready to accept connections") == 1


def test_a_user_that_comes_while_the_watchdog_stops_the_server_gets_a_new_one(folder: Path) -> None:
    for _ in range(6):
        with EmbeddedPostgres(folder) as server:
            assert query(server.start(), "SELECT 1") == 1
            assert not watch.is_free(folder / "watch.lock")


def test_a_killed_watchdog_is_replaced_by_the_next_start(server: EmbeddedPostgres) -> None:
    url = server.start()
    for pid in watchdogs(server.folder):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: watch.is_free(server.folder / "watch.lock"), "the watchdog is dead")

    assert server.start() == url
    server.close()

    eventually(lambda: everything(server.folder) == [], "no process is left")


def test_a_set_up_that_was_killed_midway_is_begun_anew(server: EmbeddedPostgres, join: Join) -> None:
    owner = join()
    eventually(lambda: any(server.folder.glob("new-*/data/PG_VERSION")), "initdb is at work")
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert not server.data.exists()

    assert query(server.start(), "SELECT 1") == 1
    assert list(server.folder.glob("new-*")) == []


def test_a_server_that_gives_no_answer_is_reported_with_its_log(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_LIMIT_S", 0.1)
    monkeypatch.setattr(EmbeddedPostgres, "_answers", lambda self, port: False)

    with pytest.raises(EmbeddedError, match=r"no answer for 0\.1 s; .*postgres\.log ends with: .*LOG"):
        server.start()


def test_a_damaged_database_is_reported_with_the_last_lines_of_its_log(server: EmbeddedPostgres) -> None:
    server.start()
    stop(server)
    (server.data / "global" / "pg_control").unlink()

    with pytest.raises(EmbeddedError, match=r"does not start; .*could not .*pg_control"):
        server.start()


def test_a_password_file_that_does_not_fit_is_named(server: EmbeddedPostgres) -> None:
    server.start()
    stop(server)
    (server.folder / "password").write_text("another\n")

    with pytest.raises(EmbeddedError, match="password: not the password of the database beside it; restore"):
        server.start()


def test_an_unusable_folder_is_a_plain_error(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")

    with pytest.raises(EmbeddedError, match=r"cannot run the embedded database: .*SPIKEFRONT_DATABASE_URL"):
        EmbeddedPostgres(folder).start()
    folder.unlink()


def readable_python(account: Account) -> tuple[str, str]:
    """An interpreter that an ordinary user may run, with what it needs to find our packages and the installed ones.

    This one may lie in somebody's 0700 home; the system's then runs the same code.
    """
    path = os.pathsep.join([str(Path(watch.__file__).parents[1]), *map(str, filter(os.path.isdir, sys.path))])
    for python in (sys.executable, "/usr/bin/python3"):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            script = ("env", f"PYTHONPATH={path}", python, "-c", "import storage.embedded")
            account.run(script, check=True, capture_output=True)
            return python, path
    pytest.skip("no Python here that another user may run has the packages of this one")


@as_root
def test_an_ordinary_user_can_run_it(folder: Path, join: Join) -> None:
    folder.mkdir(parents=True, mode=0o700)
    python, path = readable_python(Account(uid=NOBODY, gid=NOBODY))
    for parent in (folder, *folder.parents[:2]):
        os.chown(parent, NOBODY, NOBODY)

    url = url_of(join(python=python, env={"PYTHONPATH": path}, user=NOBODY, group=NOBODY, extra_groups=[]))

    assert query(url, "SELECT 1") == 1
    assert {owner_of(pid) for pid in everything(folder)} == {NOBODY}


@pytest.mark.parametrize("number", [NOBODY, 45_678], ids=["named", "nameless"])
def test_a_user_without_any_privilege_can_run_it(folder: Path, join: Join, number: int) -> None:
    """Root inside a user namespace under another id has an ordinary user's rights; 45678 has no name."""
    user = join("unshare", "--user", f"--map-user={number}", f"--map-group={number}", "--")

    assert query(url_of(user), "SELECT 1") == 1


@as_root
def test_root_without_user_namespaces_runs_postgres_as_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse_user_namespaces(monkeypatch)
    _open_for_passage(folder)

    with EmbeddedPostgres(folder) as server:
        assert query(server.start(), "SELECT 1") == 1

        assert {owner_of(pid) for pid in watch.processes(server.data)} == {NOBODY}
        assert server.data.stat().st_uid == NOBODY
        assert {path.stat().st_uid for path in folder.iterdir() if path.name != "data"} == {0}


@as_root
def test_a_folder_that_root_made_moves_to_the_other_user_when_namespaces_are_refused_later(
    server: EmbeddedPostgres, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query(server.start(), "CREATE TABLE kept AS SELECT 7 AS n")
    stop(server)
    _refuse_user_namespaces(monkeypatch)
    _open_for_passage(folder)

    assert query(server.start(), "SELECT n FROM kept") == 7
    assert server.data.stat().st_uid == NOBODY
    stop(server)
    monkeypatch.undo()
    assert query(server.start(), "SELECT n FROM kept") == 7


@as_root
def test_root_that_may_do_neither_is_told_what_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse_user_namespaces(monkeypatch)

    with pytest.raises(EmbeddedError, match="run spikefront as an ordinary user, or set SPIKEFRONT_DATABASE_URL"):
        EmbeddedPostgres(folder).start()


def test_a_process_that_only_claims_to_be_part_of_the_server_is_not_killed(server: EmbeddedPostgres) -> None:
    server.start()
    command = ["postgres", "-c", "input()", "-D", str(server.data)]
    other = subprocess.Popen(command, executable=sys.executable, stdin=subprocess.PIPE)
    try:
        eventually(lambda: other.pid in watch.processes(server.data), "its command line claims to be ours")
        watch.kill_processes(server.data)
        eventually(lambda: watch.processes(server.data) == [other.pid], "the real ones are dead")
        assert other.poll() is None
    finally:
        other.communicate(b"\n")


def _refuse_user_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    real = embedded.can_run
    monkeypatch.setattr(embedded, "can_run", lambda account, folder: not account.prefix and real(account, folder))


def _open_for_passage(folder: Path) -> None:
    for parent in folder.parents[:2]:
        parent.mkdir(exist_ok=True)
        parent.chmod(0o711)
