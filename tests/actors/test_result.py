"""What a run came to is read line by line and held as columns."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apex_nautilus.actors import read_result, records
from apex_nautilus.actors._columns import Columns
from apex_nautilus.store import CatalogLayout, LedgerError, LedgerWriter


class Thing(msgspec.Struct, frozen=True):
    name: str
    price: float
    count: int


things = st.builds(Thing, st.text(max_size=5), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(things, max_size=30))
def test_columns_are_a_sequence_of_what_was_put_in(items):
    columns = Columns(Thing, items)
    assert list(columns) == items == columns
    assert len(columns) == len(items)
    for cut in (slice(None), slice(1, -1), slice(None, None, -3)):
        assert columns[cut] == items[cut]
    for i in range(-len(items), len(items)):
        assert columns[i] == items[i]
    assert columns.column("count").tolist() == [item.count for item in items]
    assert columns.column("price").tolist() == [item.price for item in items]


def test_columns_hold_many_different_texts_and_those_before_they_were_many():
    items = [Thing(f"order-é-{i}" if i % 3 else "the same", i / 7, i) for i in range(5000)]
    columns = Columns(Thing, items)
    assert columns == items
    assert columns[4999].name == "order-é-4999"
    assert columns[0].name == columns[-2].name == "the same"


def test_columns_say_what_they_do_not_hold():
    class Odd(msgspec.Struct):
        parts: tuple[str, ...]

    with pytest.raises(TypeError, match=r"Odd\.parts: a column holds float, int or str"):
        Columns(Odd)
    with pytest.raises(IndexError, match="Thing 0 of 0"):
        Columns(Thing)[0]
    with pytest.raises(KeyError, match="holds texts"):
        Columns(Thing).column("name")


def birth(name):
    return records.Birth(agent=name, role="champion", slot="s", epoch=1, instrument_id="BTCUSDT-LINEAR.SIM",
                         genome="g", strategy_id=f"S-{name}", capital=200.0, treasury=0.0)  # fmt: skip


def fill(name, k):
    side = 1 if k % 2 == 0 else -1
    return records.Fill(agent=name, order=f"O-{name}-{k}", qty=0.001 * side, price=50_000.0 + k, fee=0.02,
                        position=0.001 * (k % 2 == 0), cash=200.0 - 0.02 * k)  # fmt: skip


def burial(name):
    return records.Burial(agent=name, role="champion", slot="s", epoch=1, genome="g", cause="ruin",
                          cash=150.0, fees=1.0, trades=3, treasury=0.0)  # fmt: skip


def written(root, lines):
    layout = CatalogLayout(root).ensure()
    with LedgerWriter(layout.ledger, "arena", group_commit=10_000) as ledger:
        ledger.append_many((records.kind_of(line), 10 + k, line) for k, line in enumerate(lines))
    return layout


def test_each_agent_gets_its_own_lines_in_their_order(tmp_path):
    lines = [birth("a"), birth("b")]
    lines += [fill("ab"[k % 2], k) for k in range(10)]
    lines += [records.Mark(agent="b", cash=199.0, equity=198.5 + k, position=0.0, trades=k) for k in range(3)]
    written(tmp_path, [*lines, burial("a")])
    result = read_result(tmp_path)
    assert list(result.agents) == ["a", "b"]
    assert [f.order for f in result.agents["a"].fills] == [f"O-a-{k}" for k in range(0, 10, 2)]
    assert result.agents["b"].fills[-1] == fill("b", 9)
    np.testing.assert_array_equal(result.agents["b"].equity, [198.5, 199.5, 200.5])
    np.testing.assert_array_equal(result.agents["b"].ts_ns, [22, 23, 24])
    assert (result.agents["a"].burial, result.agents["a"].buried_ns) == (burial("a"), 25)
    assert result.agents["a"].final_equity == 150.0
    assert result.agents["b"].burial is None


def test_a_name_that_a_restart_gave_again_is_another_life(tmp_path):
    """After a crash the same folder may be gone on with, and shadows are counted from one again."""
    written(tmp_path, [birth("shadow-1"), fill("shadow-1", 0), burial("shadow-1"), birth("shadow-1"),
                       fill("shadow-1", 7)])  # fmt: skip
    agent = read_result(tmp_path).agents["shadow-1"]
    assert agent.fills == [fill("shadow-1", 7)]
    assert agent.burial is None
    assert agent.born_ns == 13


def test_other_writers_of_the_folder_are_not_read(tmp_path):
    layout = written(tmp_path, [birth("a")])
    with LedgerWriter(layout.ledger, "forge") as ledger:
        ledger.append("birth", 5, birth("x"))
    assert list(read_result(tmp_path).agents) == ["a"]


def test_a_folder_without_a_ledger_has_no_agents(tmp_path):
    result = read_result(tmp_path)
    assert (result.agents, result.finish) == ({}, None)


def test_a_line_that_is_not_of_its_kind_is_named(tmp_path):
    layout = CatalogLayout(tmp_path).ensure()
    with LedgerWriter(layout.ledger, "arena") as ledger:
        ledger.append("birth", 1, birth("a"))
        ledger.append("fill", 2, {"agent": "a", "order": "O-1", "qty": "much"})
    with pytest.raises(LedgerError, match="ledger line 1 is no fill line"):
        read_result(tmp_path)


_READ = """
    import sys
    from apex_nautilus.actors import read_result

    def peak():
        status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        return int(status["VmHWM"].split()[0])

    before = peak()
    result = read_result(sys.argv[1])
    print(len(result.agents["a"].fills), peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
def test_a_long_ledger_takes_a_tenth_of_a_kilobyte_a_fill(tmp_path):
    n = 30_000
    written(tmp_path, [birth("a"), *(fill("a", k) for k in range(n))])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_READ), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    fills, kib = map(int, done.stdout.split())
    assert fills == n
    assert kib * 1024 / n < 300  # 1.6 KB where every line is an object
