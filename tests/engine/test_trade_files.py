"""The files of the trade log: each execution once, whole lines only, and nothing lost to a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal

import msgspec
import pytest
import trade_writer
from hypothesis import given
from hypothesis import strategies as st
from trade_writer import START_NS, execution

from apex_nautilus.engine.trade_files import (
    Execution,
    Payment,
    TradeFiles,
    _Appended,
    read_events,
    read_executions,
    read_payments,
    read_settings,
    sessions,
)
from apex_nautilus.store import StoreError

DAY_NS = 86_400 * 10**9


def opened(folder, session="s1", desk="btc", **settings) -> TradeFiles:
    return TradeFiles(folder, session, desk, {"capital": 200.0} | settings)


def test_what_is_written_is_read_back_digit_for_digit(tmp_path):
    ones = [execution(k, price=Decimal("0.10000"), commission=Decimal("-0.00000001")) for k in range(5)]
    files = opened(tmp_path)
    assert [files.execution(one) for one in ones] == [True] * 5
    files.close()
    assert list(read_executions(tmp_path / "trades_s1.csv")) == ones
    header, first = (tmp_path / "trades_s1.csv").read_text().splitlines()[:2]
    assert header.startswith("time,ts_ns,session,desk,")
    assert first.startswith("2023-11-14T22:13:20.000000000Z,1700000000000000000,s1,btc,")
    assert ",0.10000," in first
    assert "-1E-8" in first or "-0.00000001" in first
    assert sessions(tmp_path) == ["s1"]


_text = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12)


@given(_text, _text, st.decimals(allow_nan=False, allow_infinity=False), st.booleans())
def test_any_text_and_any_number_survive(tmp_path_factory, strategy, trade, price, flag):
    one = execution(1, strategy_id=strategy, trade_id=trade, price=price, reconciliation=flag)
    folder = tmp_path_factory.mktemp("log")
    files = opened(folder)
    files.execution(one)
    files.close()
    (back,) = read_executions(folder / "trades_s1.csv")
    assert back == one
    assert str(back.price) == str(one.price)


def test_an_execution_is_written_once_in_one_life_and_in_the_next(tmp_path):
    files = opened(tmp_path)
    assert [files.execution(execution(k)) for k in (0, 1, 0)] == [True, True, False]
    files.close()
    files = opened(tmp_path)
    assert [files.execution(execution(k)) for k in (1, 2)] == [False, True]
    # One trade id of another order is another execution: venues number them by order or by instrument.
    assert files.execution(execution(2, client_order_id="O-9"))
    files.close()
    assert len(list(read_executions(tmp_path / "trades_s1.csv"))) == 4


def payment(number: int, **changes) -> Payment:
    fields = {
        "ts_ns": START_NS + number * 8 * 3600 * 10**9,
        "session": "s1",
        "desk": "btc",
        "account_id": "SIM-001",
        "strategy_id": "S-1",
        "instrument_id": "BTCUSDT-LINEAR.SIM",
        "position_id": "P-1",
        "quantity": Decimal("-0.010"),
        "mark": Decimal("60000.1"),
        "rate": Decimal("0.000123456789"),
        "funding": Decimal("0.07407420"),
        "currency": "USDT",
    }
    return Payment(**fields | changes)


def test_payments_lie_in_a_file_of_their_own_once_each_from_the_first_one_on(tmp_path):
    path = tmp_path / "funding_s1.csv"
    files = opened(tmp_path)
    assert not path.exists()
    assert list(read_payments(path)) == []
    assert [files.payment(payment(k)) for k in (0, 1, 0)] == [True, True, False]
    files.close()
    os.truncate(path, path.stat().st_size - 3)  # a torn last line
    files = opened(tmp_path)
    assert [files.payment(payment(k)) for k in (0, 1, 2)] == [False, True, True]
    assert files.payment(payment(2, strategy_id="S-2"))  # another agent at the same settlement
    files.close()
    assert list(read_payments(path)) == [*map(payment, range(3)), payment(2, strategy_id="S-2")]
    path.write_text(path.read_text().replace("0.07407420", "much", 1))
    with pytest.raises(StoreError, match="line 2 is no payment"):
        list(read_payments(path))


def test_cash_is_exact(tmp_path):
    assert execution(0).cash == Decimal("-500.0010")
    assert execution(2).cash == Decimal("500.0010")


def test_events_lie_in_the_file_of_their_day_and_desk(tmp_path):
    files = opened(tmp_path)
    for ts_ns in (START_NS, START_NS + DAY_NS, START_NS + 1):  # one comes a day late
        files.event(ts_ns, "OrderAccepted", {"client_order_id": "O-1"})
    files.close()
    other = opened(tmp_path, session="s2")
    other.event(START_NS + 2, "OrderRejected", {"reason": "no"})
    other.close()
    assert sorted(p.name for p in tmp_path.glob("*.jsonl")) == [
        "btc_2023-11-14.jsonl",
        "btc_2023-11-15.jsonl",
    ]
    assert [e["ts_ns"] - START_NS for e in read_events(tmp_path, "btc", session="s1")] == [0, 1, DAY_NS]
    assert [e["event"] for e in read_events(tmp_path, "btc", session="s2")] == ["OrderRejected"]


def test_settings_are_kept_without_secrets_and_do_not_change_under_a_session(tmp_path):
    opened(tmp_path, venue={"api_key": "AAAA", "Passphrase": "BBBB", "name": "SIM", "token": None}).close()
    kept = read_settings(tmp_path, "s1")["settings"]
    assert kept["venue"] == {
        "api_key": "(not kept)",
        "Passphrase": "(not kept)",
        "name": "SIM",
        "token": None,
    }
    assert not any(word in (tmp_path / "settings_s1.json").read_text() for word in ("AAAA", "BBBB"))
    with pytest.raises(StoreError, match="other settings"):
        opened(tmp_path, capital=300.0)


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_torn_last_line_is_passed_over_and_cut_off_by_the_next_writer(tmp_path, cut):
    files = opened(tmp_path)
    for k in range(3):
        files.execution(execution(k))
        files.event(START_NS + k, "OrderFilled", {"k": k})
    files.close()
    for path in (tmp_path / "trades_s1.csv", tmp_path / "btc_2023-11-14.jsonl"):
        os.truncate(path, path.stat().st_size - cut)
    assert len(list(read_executions(tmp_path / "trades_s1.csv"))) == 2
    assert len(list(read_events(tmp_path, "btc"))) == 2
    files = opened(tmp_path)
    assert files.execution(execution(2))
    files.event(START_NS + 2, "OrderFilled", {"k": 2})
    files.close()
    assert list(read_executions(tmp_path / "trades_s1.csv")) == [execution(k) for k in range(3)]
    assert [e["k"] for e in read_events(tmp_path, "btc")] == [0, 1, 2]


@pytest.mark.parametrize("at", [0, 3, 17])
def test_kill_9_leaves_every_execution_that_was_told(tmp_path, at):
    process = subprocess.Popen(
        [sys.executable, trade_writer.__file__, str(tmp_path), "100000"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told = -1
    while told < at:
        told = int(process.stdout.readline())
    process.kill()
    told = max([told, *(int(line) for line in process.stdout.read().split())])
    process.wait()
    kept = list(read_executions(tmp_path / "trades_s1.csv"))
    assert kept == [execution(k) for k in range(len(kept))]
    assert len(kept) > told
    files = opened(tmp_path)  # goes on, and writes nothing twice
    files.execution(execution(0))
    files.execution(execution(len(kept)))
    files.close()
    assert len(list(read_executions(tmp_path / "trades_s1.csv"))) == len(kept) + 1


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path, monkeypatch):
    files = opened(tmp_path)
    files.execution(execution(0))
    write, room = os.write, [40]

    def full(descriptor, data):
        if room[0] == 0:
            raise OSError(28, "No space left on device")
        done = write(descriptor, data[: room[0]])
        room[0] = max(0, room[0] - done)
        return done

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        files.execution(execution(1))
    monkeypatch.undo()
    assert files.execution(execution(1)) is True
    files.close()
    assert list(read_executions(tmp_path / "trades_s1.csv")) == [execution(0), execution(1)]


def test_two_processes_never_write_one_session(tmp_path):
    files = opened(tmp_path)
    with pytest.raises(StoreError, match="another process"):
        _Appended(tmp_path / "trades_s1.csv")
    files.close()


@pytest.mark.parametrize(
    ("line", "reason"),
    [("garbage\n", "fields"), ("x" * 10 + "," * 19 + "\n", "line 3")],
)
def test_a_damaged_line_is_named_and_never_skipped(tmp_path, line, reason):
    files = opened(tmp_path)
    files.execution(execution(0))
    files.close()
    with (tmp_path / "trades_s1.csv").open("a") as file:
        file.write(line)
    with pytest.raises(StoreError, match=reason):
        list(read_executions(tmp_path / "trades_s1.csv"))


def test_the_columns_are_the_fields_of_an_execution():
    assert msgspec.structs.fields(Execution)[0].name == "ts_ns"
    assert len(msgspec.structs.fields(Execution)) == 19
