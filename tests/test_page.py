"""The parts every report's page is made of."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest

from apex_nautilus._page import Charts, cell_text, table, write_page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1_234_567, "1,234,567"),
        (1234.5, "1,234.5"),
        (1000.0, "1,000"),
        (0.123456, "0.1235"),
        (0.0, "0"),
        (0.00001234567, "1.235e-05"),
        (float("nan"), "–"),
        (float("-inf"), "–"),
        (True, "True"),
        ("7", "7"),
        (None, "None"),
    ],
)
def test_a_number_is_written_as_people_read_it(value, text):
    assert cell_text(value) == text


def test_a_table_sets_numbers_right_escapes_text_and_marks_what_is_named():
    shown = table(("a<b",), [(3, "<i>", "fails", "passes")], marks=("fails",))
    assert "<th class=n>a&lt;b</th>" in shown
    assert "<td class=n>3</td><td>&lt;i&gt;</td><td class=fails>fails</td><td>passes</td>" in shown


def test_a_page_is_whole_and_fetches_nothing(tmp_path):
    charts = Charts()
    figures = [charts.add(go.Figure(go.Scatter(x=[1, 2], y=[3, n]))) for n in (4, 5)]
    for name in ("one", "two"):
        write_page(tmp_path / name, title="<b>&", subtitle="a < b", body="".join(figures), style="p.own {}")
    page = (tmp_path / "one").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.endswith("</html>\n")
    assert page.count("<title>&lt;b&gt;&amp;</title>") == page.count("<h1>&lt;b&gt;&amp;</h1>") == 1
    assert "<p class=sub>a &lt; b</p>" in page
    assert "p.own {}" in page
    assert page.count("plotly.js v") == 1  # plotly itself once, however many figures
    assert {'id="chart1"', 'id="chart2"'} <= set(re.findall(r'id="chart\d"', page))
    assert not re.search(r"<(script|link)[^>]*\s(src|href)=", page)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "one").read_bytes()
