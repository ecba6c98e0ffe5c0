"""Help texts and documents: the commands they show are commands that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from apex_nautilus.cli.apex import main as apex
from apex_nautilus.cli.forge import main as forge

LEDGER = apex.get_command(click.Context(apex), "ledger")
PROGRAMS = {"apex": apex, "apex-forge": forge}
ROOT = Path(__file__).parents[2]


def verbs(command: click.Command, path: tuple[str, ...]):
    """Every verb below a group as (path, command)."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(click.Context(command)):
        child = command.get_command(click.Context(command), name)
        assert child is not None
        yield from verbs(child, (*path, name))


VERBS = [pair for name, program in PROGRAMS.items() for pair in verbs(program, (name,))]


def mistakes(line: str) -> list[str]:
    """What is wrong with a command line as it stands in a text: a verb or an option that there is not."""
    words = [word for word in shlex.split(line, comments=True) if word not in ("|", "&&")]
    command: click.Command = PROGRAMS[words.pop(0)]
    while isinstance(command, click.Group):
        context = click.Context(command)
        verb = words[0] if words else ""
        if verb in command.list_commands(context):
            words.pop(0)
        elif command is LEDGER:
            verb = "lines"  # which `apex ledger` takes where none is named
        elif re.fullmatch("[a-z][a-z-]*", verb):
            return [f"{line}: no verb {verb!r}"]
        else:
            return []  # the group itself, or a placeholder for its verbs
        child = command.get_command(context, verb)
        assert child is not None
        command = child
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = [word.partition("=")[0] for word in words if re.match("--?[a-z]", word)]
    return [
        f"{line}: no option {option}"
        for option in used
        if option not in {*known, "--help", "-h", "--version"}
    ]


@pytest.mark.parametrize(
    ("path", "command"), VERBS, ids=lambda x: " ".join(x) if isinstance(x, tuple) else ""
)
def test_every_verb_shows_how_it_is_called_and_every_option_says_what_it_does(path, command):
    """The importers share the words of their group; every other verb has an example of its own."""
    silent = [p.opts[0] for p in command.params if isinstance(p, click.Option) and not p.help]
    assert not silent
    if path[:3] == ("apex", "data", "import"):
        return
    lines = [text.strip() for text in (command.help or "").splitlines()]
    examples = [line for line in lines if line.startswith((" ".join(path), " ".join(path[:-1]) + " runs"))]
    assert examples
    assert [wrong for line in examples for wrong in mistakes(line)] == []


def test_a_command_line_with_a_mistake_is_found():
    assert mistakes("apex backtest configs/backtest.json --dry") == []
    assert mistakes("apex backtest configs/backtest.json --wet")
    assert mistakes("apex data buy --all")
    assert mistakes("apex-forge evolve --seed=7 --popultion 3")


@pytest.mark.parametrize(
    "page", ["README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
)
def test_the_commands_in_a_document_are_commands_that_there_are(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = [re.sub(r"^\$ ", "", line) for line in lines]
    spoken = [line for line in commands if re.match(r"apex(-forge)? ", line)]
    inline = re.findall(r"`(apex(?:-forge)? [^`]+)`", text)
    wrong = [w for line in (*spoken, *inline) for w in mistakes(line.replace("…", ""))]
    assert wrong == []
