"""Full disks: of the worker's results, of checkpoints and weights, of the database, of the logs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from storage import embedded_watch as watch
from storage.embedded import EmbeddedPostgres
from storage.engine import create_engine
from storage.schema import migrate
from tests.support.disk import Disk, postgres_on
from tests.support.scene import Scene

pytestmark = pytest.mark.full

FULL_S, MOST_S = 4.0, 40.0


def fill_for_a_while(scene: Scene, disk: Disk, has_hurt: Callable[[], bool] = lambda: True) -> None:
    """From the second trial on, for twice a lease, and until it has hurt somebody."""
    scene.begin()
    scene.wait_for_trials(2)
    began, was_full = time.monotonic(), 0
    for _ in watch.ticks(MOST_S):
        disk.fill()
        was_full += os.statvfs(disk.seen(disk.folder)).f_bavail == 0
        scene.tend()
        if time.monotonic() > began + FULL_S and has_hurt():
            break
    assert was_full > 10
    disk.free()
    scene.settle()


def test_a_full_disk_of_a_worker_costs_no_trial(postgres: EmbeddedPostgres, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    with (
        Disk(folder / "workers", "1m") as disk,
        Scene(folder, postgres, url, worker_disk=disk) as scene,
    ):
        fill_for_a_while(scene, disk)
        assert scene.audit() == []
        spools = disk.seen(folder / "workers")
        assert [path for path in spools.rglob("*") if path.is_file()] == []


def test_a_full_disk_of_checkpoints_and_weights_delays_only(
    postgres: EmbeddedPostgres, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "scene"
    with (
        Disk(folder / "var" / "artifacts", "4m") as disk,
        Scene(folder, postgres, url, server_disk=disk) as scene,
    ):
        fill_for_a_while(scene, disk)
        assert scene.audit() == []
        assert list(disk.seen(disk.folder).rglob("*.part")) == []


def test_a_full_disk_of_the_database_delays_only(tmp_path: Path) -> None:
    with Disk(tmp_path / "small", "200m") as disk, postgres_on(disk) as url:
        engine = create_engine(url)
        migrate(engine, url)
        engine.dispose()
        with Scene(tmp_path / "scene", None, url) as scene:
            fill_for_a_while(scene, disk, lambda: "the database is away" in scene.log_of("server"))
            assert scene.audit() == []
            assert "the database is away" in scene.log_of("server")


def test_a_full_disk_of_logs_is_not_noticed(postgres: EmbeddedPostgres, url: str, tmp_path: Path) -> None:
    with (
        Disk(tmp_path / "logs", "1m") as disk,
        Scene(tmp_path / "scene", postgres, url, logs=disk.seen(disk.folder)) as scene,
    ):
        scene.begin()
        scene.wait_for_trials(2)
        disk.fill()
        scene.to_database.refuse()  # so that there is something to be logged
        scene.pause(1.0)
        scene.settle()
        assert scene.audit() == []
        assert os.statvfs(disk.seen(disk.folder)).f_bavail == 0
