"""The picture of a run: one time axis, bounded in size, whatever the number of agents and trades."""

from __future__ import annotations

import numpy as np
import pytest

from apex_nautilus.engine.report import write_report
from apex_nautilus.engine.report_timeline import COLOURS, Curve, Happening, timeline

START = 1_735_704_000 * 10**9
MINUTE = 60 * 10**9


def curve(name: str, n: int = 50, **more) -> Curve:
    return Curve(name, START + MINUTE * np.arange(n), 200.0 + np.sin(np.arange(n)), **more)


def drawn(figure) -> list[str]:
    return [trace.name for trace in figure.data if trace.showlegend is not False]


def test_equity_weights_and_happenings_share_one_axis_and_a_slot_one_colour_and_entry():
    figure = timeline(
        [
            curve("btc-1.e1", group="btc-1"),
            curve("btc-1.e2", group="btc-1"),
            curve("eth-1.e1", group="eth-1"),
        ],
        [curve("btc-1.e1", group="btc-1"), curve("eth-1.e1", group="eth-1")],
        [Happening(START, "birth", "btc-1"), Happening(START + MINUTE, "death", "eth-1")],
    )
    assert drawn(figure) == ["btc-1", "eth-1", "birth", "death"]
    colours = {trace.legendgroup: trace.line.color for trace in figure.data if trace.mode == "lines"}
    assert colours == {"btc-1": COLOURS[0], "eth-1": COLOURS[1]}
    layout = figure.layout
    assert [layout.xaxis.matches, layout.xaxis2.matches, layout.xaxis3.matches] == ["x3", "x3", None]
    assert list(layout.yaxis3.categoryarray) == ["eth-1", "btc-1"]  # the first at the top


def test_challengers_lie_aside_until_they_are_asked_for():
    figure = timeline([curve("btc-1.e1"), curve("shadow-1", group="shadows", aside=True)])
    assert [trace.visible for trace in figure.data] == [True, "legendonly"]


def test_many_agents_and_trades_are_thinned_and_rare_happenings_are_not(tmp_path):
    curves = [curve(f"s{k}.e1", 3_000, group=f"s{k}") for k in range(60)]
    rare = [Happening(START + k * MINUTE, kind, "s1") for k, kind in enumerate(["death", "swap"] * 20)]
    trades = [Happening(START + k * MINUTE, "stop", f"s{k % 60}", "#1 long 2 at 3") for k in range(20_000)]
    figure = timeline(curves, curves, rare + trades)
    assert sum(len(trace.x) for trace in figure.data if trace.mode == "lines") < 45_000
    markers = {trace.name.split(" (")[0]: len(trace.x) for trace in figure.data if trace.mode == "markers"}
    assert markers["death"] == markers["swap"] == 20
    assert 1_500 < markers["stop"] < 2_000
    assert "of 20,000 shown" in figure.data[-1].name
    write_report(tmp_path / "r.html", title="Many", curves=curves, weights=curves, happenings=rare + trades)
    assert (tmp_path / "r.html").stat().st_size < 6_000_000


def test_times_are_drawn_to_the_millisecond_and_values_to_seven_digits():
    ts_ns = np.array([START, START + 1_500_000])
    (trace,) = timeline([Curve("a", ts_ns, np.array([200.12345, 1e6]))]).data
    assert list(trace.x) == [START / 1e6, START / 1e6 + 1.5]
    assert list(trace.y) == pytest.approx([200.12345, 1e6], rel=1e-7)


def test_a_run_in_which_nothing_happened_is_a_page_that_says_so(tmp_path):
    write_report(tmp_path / "r.html", title="Empty", words=["No agent <was> born."])
    page = (tmp_path / "r.html").read_text()
    assert "No agent &lt;was&gt; born." in page
    assert "plotly" not in page
