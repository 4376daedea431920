"""The faults of the chaos suite, by name: each is done to a running scene, and undone before it returns.

A fault returns as soon as nothing is broken any more; what it left behind is for the product to mend. What it met
is counted in `Scene.harm`.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2  # type: ignore[import-untyped]
from sqlalchemy import text

from tests.support.chaos_worker import seen_by
from tests.support.postgres import dsn
from tests.support.proxy import Proxy
from tests.support.scene import LEASE_S, Scene

Fault = Callable[[Scene], None]
HOUR_S = 3600
PAST_LEASE_S = 1.5 * LEASE_S + 1.0
SERVER_FENCE = "SELECT max(server_fence) FROM spikefront.study"
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'spikefront.lease'::regclass AND NOT granted"
TERMINATE = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def some(scene: Scene, count: int = 1) -> list[str]:
    """Workers chosen by the scene's seed; fewer when fewer live."""
    names = sorted(name for name, member in scene.members.items() if not name.startswith("server"))
    alive = [name for name in names if scene.members[name].started.process.poll() is None]
    return scene.random.sample(alive, min(count, len(alive)))


def wait_for_work_of(scene: Scene, prefix: str, count: int) -> None:
    """Wait until so many processes whose names begin so have had a trial, or the study is over."""

    def at_work() -> int:
        return sum(path.stat().st_size > 0 for path in (scene.folder / "told").glob(f"{prefix}-*.jsonl"))

    scene.wait(lambda: at_work() >= count or not scene.names(), f"{count} of {prefix} have had a trial")
    scene.met += at_work() > 1


# --- workers ---------------------------------------------------------------------------------------------------


def kill_a_worker(scene: Scene) -> None:
    scene.kill(*some(scene))


def kill_two_workers(scene: Scene) -> None:
    scene.kill(*some(scene, 2))


def kill_all_workers_and_start_one(scene: Scene) -> None:
    names = some(scene, 99)
    scene.kill(*names, again=False)
    scene.revive(names[0])


def kill_workers_twelve_times(scene: Scene) -> None:
    for _ in range(12):
        scene.kill(*some(scene))
        scene.pause(0.5)


def kill_all_workers_and_wait(scene: Scene) -> None:
    names = some(scene, 99)
    scene.kill(*names, again=False)
    scene.pause(2 * LEASE_S)
    for name in names:
        scene.revive(name)


def stop_workers_past_their_lease(scene: Scene) -> None:
    """Of three workers two sleep; the third takes their trials over, and then they wake up."""
    names = some(scene, 2)
    scene.send(signal.SIGSTOP, *names)
    try:
        scene.pause(PAST_LEASE_S)
    finally:
        scene.send(signal.SIGCONT, *names)


def ask_a_worker_to_end(scene: Scene) -> None:
    """SIGTERM: it saves, hands over and leaves; another life follows."""
    for name in some(scene):
        scene.send(signal.SIGTERM, name)
        scene.members[name].started.wait(60.0)
        scene.revive(name)


def start_workers_of_the_same_name(scene: Scene) -> None:
    for label in ("twin-1", "twin-2"):
        if label not in scene.members:
            scene.work("w0", label=label)
    wait_for_work_of(scene, "w0", 3)


def start_eight_workers_at_once(scene: Scene) -> None:
    for number in range(8):
        if f"crowd-{number}" not in scene.members:
            scene.work(f"crowd-{number}")
    wait_for_work_of(scene, "crowd", 8)


def set_clocks_wrong(scene: Scene) -> None:
    """One worker's clock an hour back, another's an hour forward, and right again."""
    names = some(scene, 2)
    for name, seconds in zip(names, (-HOUR_S, HOUR_S), strict=False):
        scene.clock(name).write_text(str(seconds))
    scene.pause(LEASE_S)
    scene.met += sum(seen_by(scene.clock(name)).exists() for name in names)
    for name in names:
        scene.clock(name).unlink()
    scene.pause(0.5)


# --- the server ------------------------------------------------------------------------------------------------


def kill_the_server(scene: Scene) -> None:
    scene.kill("server")
    scene.revive("server")
    scene.wait_for_server()


def keep_the_server_down(scene: Scene) -> None:
    """Past the leases: results wait on the workers' disks."""
    scene.kill("server", again=False)
    time.sleep(PAST_LEASE_S)
    scene.revive("server")
    scene.wait_for_server()


def end_the_server(scene: Scene) -> None:
    """SIGTERM, as a restart by hand."""
    scene.members["server"].is_meant = True
    scene.send(signal.SIGTERM, "server")
    scene.members["server"].started.wait(60.0)
    scene.revive("server")
    scene.wait_for_server()


def stop_the_server_past_the_leases(scene: Scene) -> None:
    scene.send(signal.SIGSTOP, "server")
    try:
        time.sleep(PAST_LEASE_S)
    finally:
        scene.send(signal.SIGCONT, "server")


def run_two_servers(scene: Scene) -> None:
    """One hands out, the other stands by for its own workers, and takes over when the first one hangs."""
    port = scene.serve_too()
    for label in ("second-1", "second-2"):
        scene.work(label, through=port)
    scene.pause(2.0)
    before = scene.scalar(SERVER_FENCE)
    stop_the_server_past_the_leases(scene)
    assert scene.scalar(SERVER_FENCE) != before, "no server took over"


def kill_server_and_workers(scene: Scene) -> None:
    scene.kill("server", *some(scene, 99))
    scene.revive("server")
    scene.wait_for_server()


# --- the database ----------------------------------------------------------------------------------------------


def restart_postgres(number: signal.Signals, down_s: float = 0.0) -> Fault:
    def fault(scene: Scene) -> None:
        with scene.database_down(number):
            time.sleep(down_s)

    return fault


def terminate_backends(scene: Scene) -> None:
    """Each half second, whatever they do."""
    for _ in range(6):
        with contextlib.closing(psycopg2.connect(dsn(scene.url))) as connection:
            scene.met += _terminated(connection)
        scene.pause(0.5)


def _terminated(connection: Any) -> int:
    """Terminate every other backend of the database; how many."""
    with connection.cursor() as cursor:
        cursor.execute(TERMINATE)
        return int(cursor.fetchone()[0])


def take_all_slots(scene: Scene) -> None:
    """Take every connection that Postgres gives, end the server's own, and hold on."""
    with contextlib.ExitStack() as held:
        with contextlib.closing(psycopg2.connect(dsn(scene.url))) as connection:
            _terminated(connection)
            with contextlib.suppress(psycopg2.OperationalError):
                while True:
                    held.enter_context(contextlib.closing(psycopg2.connect(dsn(scene.url))))
            scene.met += 1  # none is left
        time.sleep(3.0)


def lock_the_tables(scene: Scene) -> None:
    """A person's open transaction locks the leases, past their time."""
    with scene.engine.begin() as connection:
        connection.execute(text("LOCK TABLE spikefront.lease IN ACCESS EXCLUSIVE MODE"))
        time.sleep(PAST_LEASE_S)
        scene.met += int(connection.scalar(text(WAITING)) or 0)


def kill_everything(scene: Scene) -> None:
    with scene.database_down(signal.SIGKILL):
        scene.kill("server", *some(scene, 99))
    scene.revive("server")
    scene.wait_for_server()


# --- the links -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _healed(proxy: Proxy) -> Iterator[Proxy]:
    try:
        yield proxy
    finally:
        proxy.heal()


def cut(link: str) -> Fault:
    """Reset what is open, three times."""

    def fault(scene: Scene) -> None:
        for _ in range(3):
            getattr(scene, link).cut()
            scene.pause(0.4)

    return fault


def refuse(link: str, seconds: float) -> Fault:
    def fault(scene: Scene) -> None:
        with _healed(getattr(scene, link)) as proxy:
            proxy.refuse()
            time.sleep(seconds)

    return fault


def stall(link: str, seconds: float) -> Fault:
    def fault(scene: Scene) -> None:
        with _healed(getattr(scene, link)) as proxy:
            proxy.stall()
            time.sleep(seconds)

    return fault


def delay(link: str, each_s: float, seconds: float) -> Fault:
    def fault(scene: Scene) -> None:
        with _healed(getattr(scene, link)) as proxy:
            proxy.delay(each_s)
            scene.pause(seconds)

    return fault


def lose(link: str, what: str, mark: bytes, times: int = 3) -> Fault:
    """Lose so many requests or replies; when fewer come until the study ends, fewer."""

    def fault(scene: Scene) -> None:
        with _healed(getattr(scene, link)) as proxy:
            before = proxy.dropped
            getattr(proxy, f"drop_{what}")(mark, times)
            scene.wait(lambda: proxy.dropped >= before + times or not scene.names(), f"{times} of {what} are lost")

    return fault


_DATABASE, _SERVER = "to_database", "to_server"

FAULTS: dict[str, Fault] = {
    "kill -9 of a worker": kill_a_worker,
    "kill -9 of two workers": kill_two_workers,
    "kill -9 of all workers, one new worker": kill_all_workers_and_start_one,
    "kill -9 of a worker, twelve times": kill_workers_twelve_times,
    "kill -9 of all workers, nobody for two leases": kill_all_workers_and_wait,
    "SIGSTOP of two workers past their lease": stop_workers_past_their_lease,
    "SIGTERM of a worker": ask_a_worker_to_end,
    "three workers of one name": start_workers_of_the_same_name,
    "eight workers at once": start_eight_workers_at_once,
    "clocks of workers back and forward": set_clocks_wrong,
    "kill -9 of the server": kill_the_server,
    "kill -9 of the server, down past the leases": keep_the_server_down,
    "SIGTERM of the server": end_the_server,
    "SIGSTOP of the server past the leases": stop_the_server_past_the_leases,
    "two servers": run_two_servers,
    "kill -9 of server and workers": kill_server_and_workers,
    "kill -9 of server, workers and Postgres": kill_everything,
    "Postgres restarted fast": restart_postgres(signal.SIGINT),
    "Postgres restarted immediately": restart_postgres(signal.SIGQUIT),
    "kill -9 of Postgres, 3 s down": restart_postgres(signal.SIGKILL, 3.0),
    "Postgres down past the leases": restart_postgres(signal.SIGINT, PAST_LEASE_S),
    "backends terminated": terminate_backends,
    "all connection slots taken": take_all_slots,
    "lease table locked past the leases": lock_the_tables,
    "database link cut": cut(_DATABASE),
    "database link refused 3 s": refuse(_DATABASE, 3.0),
    "database link stalled 8 s": stall(_DATABASE, 8.0),
    "database link delayed": delay(_DATABASE, 0.15, 6.0),
    "commit done, reply lost": lose(_DATABASE, "reply", b"COMMIT"),
    "commit lost": lose(_DATABASE, "request", b"COMMIT"),
    "server link cut": cut(_SERVER),
    "server link refused 3 s": refuse(_SERVER, 3.0),
    "server link stalled 8 s": stall(_SERVER, 8.0),
    "server link delayed": delay(_SERVER, 0.15, 6.0),
    "result taken, reply lost": lose(_SERVER, "reply", b"/complete"),
    "result lost": lose(_SERVER, "request", b"/complete"),
    "trial handed out, reply lost": lose(_SERVER, "reply", b"POST /v1/leases "),
    "checkpoint taken, reply lost": lose(_SERVER, "reply", b"/checkpoints/"),
    "any reply lost": lose(_SERVER, "reply", b"HTTP/1.1", 12),
}
"""By the row's name."""

SHORT: dict[str, Fault] = {
    name: FAULTS[name]
    for name in (
        "kill -9 of a worker", "kill -9 of two workers", "kill -9 of the server", "Postgres restarted fast",
        "Postgres restarted immediately", "backends terminated", "database link cut", "commit done, reply lost",
        "commit lost", "server link cut", "result taken, reply lost", "result lost", "trial handed out, reply lost",
        "checkpoint taken, reply lost", "SIGTERM of a worker", "three workers of one name",
    )
} | {
    "SIGSTOP of two workers past their lease": stop_workers_past_their_lease,
    "database link refused": refuse(_DATABASE, 1.5),
    "server link refused": refuse(_SERVER, 1.5),
    "database link stalled": stall(_DATABASE, PAST_LEASE_S),
    "server link stalled": stall(_SERVER, PAST_LEASE_S),
    "clocks of workers back and forward": set_clocks_wrong,
}  # fmt: skip
"""What a random sequence draws from."""
