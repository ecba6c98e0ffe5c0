"""Building, labelling, splitting and replaying do not need the rows to fit in memory.

A child process may not have more private memory than a bound that the arrays themselves would burst.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CHILD = '''
import json, resource, sys
import numpy as np
from apex_nautilus.data import Bracket, Dataset
from apex_nautilus.data.book_rows import BookRowsBuilder, dataset_from_events
from apex_nautilus.data.dataset import DatasetWriter
from apex_nautilus.forge import _replay_market
from apex_nautilus.forge.replay import replay
from apex_nautilus.genome import compile_trees, constant, pack
from apex_nautilus.features import FLAG_LAST, KIND_LEVEL, make_events
from apex_nautilus.risk import InstrumentSpec

SPEC = InstrumentSpec(
    id="X.Y", base="X", quote="Y", price_precision=1, size_precision=0, tick=0.1, lot=1.0, maker_fee=0.0,
    taker_fee=0.0,
)
FEATURES = ("imbalance", "spread_bps")
CHUNK = 25_000
_replay_market._memory_limit = lambda: 4 << 20  # a small machine: columns and returns go to files

def always():
    """A program that always wants in, and rules for it."""
    from types import SimpleNamespace
    from apex_nautilus.risk import rules_array
    genome = SimpleNamespace(
        id="always", entry_threshold=0.5, execution="aggressive",
        calibration=SimpleNamespace(a=0.0, b=9.0),
        bracket=SimpleNamespace(reward_risk=3.0, max_hold_s=60.0, stop=SimpleNamespace(value=30.0)),
        sizing=SimpleNamespace(
            mode="kelly", kelly_fraction=0.5, stake="risk", max_leverage=10.0, min_qty=None, max_qty=5.0,
            lo=0.0, hi=1.0,
        ),
    )
    return pack([compile_trees([constant(1.0), constant(1.0)], len(FEATURES))]), rules_array([genome], SPEC)

def chunks(n):
    """A walk of the touch: each event takes away the level of the one before, on one side or the other."""
    rng = np.random.default_rng(1)
    mid = 10_000
    for first in range(0, n, CHUNK):
        steps = 2 * rng.integers(0, 2, CHUNK) - 1
        after = mid + np.cumsum(steps)
        before = after - steps
        times = np.repeat(np.arange(first, first + CHUNK) * 100_000_000 + 10**18, 4)
        price = np.column_stack([before - 1, before + 1, after - 1, after + 1]).ravel()
        yield make_events(
            ts_event_ns=times, ts_init_ns=times, price=price, size=np.tile([0, 0, 5, 7], CHUNK),
            kind=KIND_LEVEL, side=np.tile([1, -1, 1, -1], CHUNK),
            flags=np.tile([0, 0, 0, FLAG_LAST], CHUNK),
        )
        mid = int(after[-1])

def streamed(n, out):
    builder = BookRowsBuilder(SPEC, "book", FEATURES, 0)
    with DatasetWriter(out, len(FEATURES)) as writer:
        for events in chunks(n):
            writer.append(builder.add(events))
        writer.commit(builder.card("walk"))
    return Dataset.open(out)

def work(n, out, whole):
    if whole:
        data = dataset_from_events(np.concatenate(list(chunks(n))), SPEC, "book", FEATURES)
    else:
        data = streamed(n, out)
    labels = data.labels(Bracket("bps", 30.0, 60_000_000_000), out=out + ".labels.npy")
    parts = data.splits(60_000_000_000)
    taken = int((labels["code"] == 1).sum())
    trades = int(replay(data, *always(), equity=1e6, threads=1)["n_trades"][0])
    return len(data), taken, parts.test[1], trades

def private():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmData"))

n, whole, room, out = int(sys.argv[1]), sys.argv[2] == "whole", int(sys.argv[3]), sys.argv[4]
work(2 * CHUNK, out + "_small", whole)  # compiles, and takes what every size needs
resource.setrlimit(resource.RLIMIT_DATA, (private() + room, resource.RLIM_INFINITY))
try:
    rows, taken, end, trades = work(n, out, whole)
    print(json.dumps({"rows": rows, "taken": taken, "end": end, "trades": trades}))
except MemoryError:
    print(json.dumps("out of memory"))
'''
ROWS = 1_000_000
ROOM = 160 << 20
"""Bytes: the path alone is 176 per row, rows and labels 88 more."""


def child(whole: str, folder) -> dict | str:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(ROWS), whole, str(ROOM), str(folder / "d")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts mappings on Linux only")
def test_rows_need_not_fit_in_memory(tmp_path):
    streamed = child("streamed", tmp_path)
    assert isinstance(streamed, dict)
    assert streamed["rows"] == streamed["end"] > 0.99 * ROWS
    assert streamed["taken"] > 100
    assert streamed["trades"] > 100
    # The bound is one that tells: the same in memory does not fit into it.
    assert child("whole", tmp_path) == "out of memory"
