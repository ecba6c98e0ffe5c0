"""`apex watchtower table`."""

from __future__ import annotations

import json

from click.testing import CliRunner

from apex_nautilus.cli.apex import main


def run(*arguments):
    result = CliRunner().invoke(main, ["watchtower", "table", "--agents", "20", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_table_says_its_seed_and_what_it_chooses():
    text = run("--seed", "7", "--within", "100")
    assert "seed 7, 20 agents" in text
    assert "within 100 trades" in text
    for title in ("Killed by PSR(0)", "Killed by DSR", "Killed by equity", "Promoted by DSR"):
        assert title in text
    assert "Largest PSR(0) threshold" in text


def test_the_same_seed_prints_the_same_for_machines():
    first, again, other = (run("--json", "--seed", seed) for seed in ("1", "1", "2"))
    assert first == again != other
    body = json.loads(first)
    assert body["seed"] == 1
    assert body["settings"]["agents"] == 20
    rules = {row["rule"] for row in body["rows"]}
    assert rules == {"decay psr", "decay dsr", "drawdown", "promote"}
    assert all(0.0 <= hit <= 1.0 for row in body["rows"] for hit in row["hit"])


def test_markdown_is_what_the_documentation_has():
    lines = run("--markdown").splitlines()
    assert lines[0].startswith("seed 1, 20 agents a cell")
    assert sum(line.startswith("|---") for line in lines) == 4
