"""Imports that are killed and disks that fill: the catalog is as it was, and running again mends it."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import synthetic_capture as sc

from apex_nautilus.data import CatalogWriter, binance_instrument, import_binance_capture, read_events
from apex_nautilus.data import catalog_writer as catalog

BTC = "BTCUSDT-PERP.BINANCE"


def tree(folder: Path) -> dict[str, str]:
    """Hashes of all that lasts in a catalog."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".writer.lock"
    }


def capture(path: Path, start: int, trades: int = 400) -> Path:
    """A capture of its own span, long enough to fill several files of a few rows."""
    lines = [sc.snapshot(start, 100)]
    for i in range(trades):
        lines.append(sc.depth(start + 1 + i, 101 + i, 101 + i, 100 + i, [("99.8", f"{1 + i % 7}.000")]))
        lines.append(sc.trade(start + 1 + i, i + 1))
    return sc.write(path, lines)


STEPS = """
import os, signal, sys
from apex_nautilus.data import catalog_writer as catalog
from apex_nautilus.data.importers import import_binance_capture
from apex_nautilus.store import atomic

steps, deadly = 0, 0

def step(*_):
    global steps
    steps += 1
    if steps == deadly:
        os.kill(os.getpid(), signal.SIGKILL)

def before_and_after(module, name):
    plain = getattr(module, name)
    def passed(*args, **options):
        step()
        result = plain(*args, **options)
        step()
        return result
    setattr(module, name, passed)

for name in ("order_batches", "deltas_to_table", "trades_to_table", "move", "remove", "fsync_directory"):
    before_and_after(catalog, name)
before_and_after(catalog.pq, "write_table")
atomic.fault_point = step
init = catalog.CatalogWriter.__init__
catalog.CatalogWriter.__init__ = lambda *a, **o: init(*a, **(o | {"rows_per_file": 150}))
"""
WHOLE = (
    STEPS
    + """
import_binance_capture([sys.argv[1]], sys.argv[2], "BTCUSDT-PERP.BINANCE")
print(steps)
"""
)
DEADLY = (
    STEPS
    + """
deadly = int(sys.argv[3])
import_binance_capture([sys.argv[1]], sys.argv[2], "BTCUSDT-PERP.BINANCE")
"""
)
AGAIN = (
    STEPS
    + """
for catalog in sys.argv[2:]:
    import_binance_capture([sys.argv[1]], catalog, "BTCUSDT-PERP.BINANCE")
"""
)


def child(program: str, *args: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", program, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_import_killed_at_any_step_and_run_again_gives_the_same_catalog(tmp_path):
    older, newer = capture(tmp_path / "a.gz", 0), capture(tmp_path / "b.gz", 1000)
    whole = tmp_path / "whole"
    import_binance_capture([older], whole, BTC)
    untouched = tree(whole)
    killed = [tmp_path / f"killed_{i}" for i in range(3)]
    for folder in killed:
        shutil.copytree(whole, folder)
    done = child(WHOLE, newer, whole)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 40
    # One point among the renames, which are the last third, and two anywhere.
    rng = np.random.default_rng(20240808)
    points = [*rng.integers(1, steps + 1, 2).tolist(), int(rng.integers(steps * 3 // 4, steps + 1))]
    partly = []
    for point, folder in zip(points, killed, strict=True):
        done = child(DEADLY, newer, folder, point)
        assert done.returncode == -signal.SIGKILL, done.stderr
        # What was there before is there still, and readable.
        left = {name: digest for name, digest in tree(folder).items() if ".staging" not in name}
        assert untouched.items() <= left.items()
        partly.append(left != untouched)
        assert next(read_events(folder, BTC)).size
    assert partly[-1]
    done = child(AGAIN, newer, *killed)
    assert done.returncode == 0, done.stderr
    assert [tree(folder) == tree(whole) for folder in killed] == [True] * 3


LIMITED = """
import errno, resource, signal, sys
from apex_nautilus.data.importers import import_binance_capture

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in map(int, sys.argv[3:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    try:
        import_binance_capture([sys.argv[1]], sys.argv[2], "BTCUSDT-PERP.BINANCE")
    except OSError as e:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        print(room, errno.errorcode.get(e.errno, e))
"""


def test_files_that_may_not_grow_leave_the_catalog_as_it_was(btc_capture, tmp_path):
    """The system itself refuses the write, at several sizes; its EFBIG stands for a full disk."""
    home = tmp_path / "catalog"
    import_binance_capture([capture(tmp_path / "a.gz", 0)], home, BTC)
    before = tree(home)
    rooms = (0, 4, 1000, 6000, 20_000)
    done = child(LIMITED, btc_capture, home, *rooms)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [str(r) for r in rooms]
    assert all("EFBIG" in line or "File too large" in line for line in done.stdout.splitlines())
    assert tree(home) == before
    assert not (home / ".staging").exists()


def mounted(path: Path, kilobytes: int) -> bool:
    path.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(path)]
    try:
        return subprocess.run(options, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kilobytes", [64, 150, 300])
def test_a_disk_that_is_full_leaves_the_catalog_as_it_was(kilobytes, btc_capture, tmp_path):
    disk = tmp_path / "disk"
    if not mounted(disk, kilobytes):
        pytest.skip("mounting a small disk is not permitted here; the limits on files stand in for it")
    try:
        home = disk / "catalog"
        import_binance_capture([capture(tmp_path / "a.gz", 0, trades=20)], home, BTC)
        before = tree(home)
        with pytest.raises(OSError, match="No space left on device"):
            import_binance_capture([btc_capture], home, BTC)
        assert tree(home) == before
        assert not (home / ".staging").exists()
        assert next(read_events(home, BTC)).size
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("failing", ["write_table", "move", "fsync_directory"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_full_disk_at_any_seam_is_an_error_and_running_again_mends_it(
    failing, count, tmp_path, monkeypatch
):
    source, home = capture(tmp_path / "a.gz", 0), tmp_path / "catalog"
    import_binance_capture([source], tmp_path / "whole", BTC)
    module = catalog.pq if failing == "write_table" else catalog
    plain = getattr(module, failing)
    left = count

    def full(*args, **options):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(28, os.strerror(28))
        return plain(*args, **options)

    with monkeypatch.context() as disk:
        disk.setattr(module, failing, full)
        with pytest.raises(OSError, match="No space left"):
            import_binance_capture([source], home, BTC)
        assert not (home / ".staging").exists()
    import_binance_capture([source], home, BTC)
    assert tree(home) == tree(tmp_path / "whole")


def test_leaving_without_a_commit_leaves_nothing(tmp_path):
    with CatalogWriter(tmp_path / "catalog", binance_instrument(BTC)):
        pass
    assert tree(tmp_path / "catalog") == {}
