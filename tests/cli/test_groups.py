"""The command groups: verbs are found by file, and help is quick and complete."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from apex_nautilus.cli.apex import main as apex
from apex_nautilus.cli.forge import main as forge


def _verbs(group) -> list[str]:
    return group.list_commands(None)


@pytest.mark.parametrize("group", [apex, forge], ids=["apex", "apex-forge"])
def test_every_verb_has_a_line_of_help_in_the_list(group):
    out = CliRunner().invoke(group, ["--help"]).output
    for verb in _verbs(group):
        (line,) = [text for text in out.splitlines() if text.split()[:1] == [verb]]
        assert len(line.split()) > 3, line


@pytest.mark.parametrize(
    ("group", "verb"),
    [(apex, v) for v in _verbs(apex)] + [(forge, v) for v in _verbs(forge)],
    ids=lambda x: str(x),
)
def test_every_verb_explains_itself(group, verb):
    result = CliRunner().invoke(group, [verb, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


@pytest.mark.parametrize("module", ["apex_nautilus.cli.apex", "apex_nautilus.cli.forge"])
def test_the_list_of_verbs_loads_neither_the_engine_nor_a_compiler(module):
    code = (
        "import sys; from click.testing import CliRunner; "
        f"from {module} import main; CliRunner().invoke(main, ['--help']); "
        "print(sorted({'nautilus_trader', 'numba', 'pandas'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("group", [apex, forge], ids=["apex", "apex-forge"])
def test_an_unknown_verb_is_refused_with_a_usage_line(group):
    result = CliRunner().invoke(group, ["evolv"])
    assert result.exit_code == 2
    assert "No such command" in result.output
