"""The verbs of apex-forge, from a dataset folder to a challenger's file."""

from __future__ import annotations

import json

import planted
import pytest
from click.testing import CliRunner

from apex_nautilus.cli.forge import main
from apex_nautilus.forge import GenerationReport
from apex_nautilus.store import CatalogLayout, FileJobQueue, RecycleJob, read_ledger

SMALL = ["--population", "16", "--generations", "2", "--max-hold", "30", "--threads", "1", "--lottery", "20"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli")
    planted.market(3000).save(root / "data" / "btc")
    return root


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def evolve(folder, out, *more, code=0):
    return run(
        "evolve", "--dataset", folder / "data" / "btc", "--catalog", folder / "catalog",
        "--out", folder / out, *SMALL, *more, code=code,
    )  # fmt: skip


def test_evolve_inspect_and_resume(folder):
    lines = evolve(folder, "a", "--json").stdout.splitlines()
    parsed = [json.loads(line) for line in lines]
    assert [line["kind"] for line in parsed] == ["generation"] * 3 + ["result"]
    genome_id = parsed[-1]["genome_id"]
    written = (folder / "a" / f"genome_{genome_id}.json").read_bytes()

    apart = ("--catalog", folder / "apart")  # in the other catalog the study has opened its test part
    evolve(folder, "b", "--generations", "1", "--no-deploy", *apart)
    kept = (folder / "b" / "run.json").read_bytes()
    old = kept.replace(b"apex.forge-run/1", b"apex.run/1")  # what the first versions wrote
    assert old != kept
    (folder / "b" / "run.json").write_bytes(old)
    on = ("resume", folder / "b", "--generations", "2", "--threads", "2")
    assert "opened its test part at generation 1" in run(*on, code=1).stderr
    assert (folder / "b" / "run.json").read_bytes() == kept
    run(*on, "--reopen-test")
    again = ("--generations", "0", "--no-deploy", *apart)
    assert "opened its test part at generation" in evolve(folder, "b-anew", *again, code=1).stderr
    evolve(folder, "b-anew", *again, "--reopen-test")
    openings = [
        r.fields for path in (folder / "apart" / "ledger").iterdir() for r in read_ledger(path)
        if r.kind == "test_opened"
    ]  # fmt: skip
    assert [(o["number"], o["opened_before"], o["forced"]) for o in openings] == [
        (1, 0, False), (2, 1, True), (0, 2, True)
    ]  # fmt: skip
    assert (folder / "b" / f"genome_{genome_id}.json").read_bytes() == written
    assert (folder / "b" / "checkpoint.json").read_bytes() == (folder / "a" / "checkpoint.json").read_bytes()

    assert (
        json.loads(run("inspect", genome_id, "--catalog", folder / "catalog", "--json").stdout)["id"]
        == genome_id
    )
    shown = run("inspect", folder / "a" / f"genome_{genome_id}.json").stdout
    assert "out of sample" in shown
    assert "signal = " in shown
    assert "take-profit 3 x stop" in shown
    assert "p = sigmoid(" in shown


def test_force_deploys_what_the_gate_refuses(folder):
    result = json.loads(evolve(folder, "c", "--dsr", "1", "--force", "--json").stdout.splitlines()[-1])
    assert result["gate"] == "refused"
    document = json.loads((CatalogLayout(folder / "catalog").incoming_file(result["genome_id"])).read_bytes())
    assert document["evidence"]["forced"] is True


def test_an_interruption_exits_130_and_says_how_to_go_on(folder, monkeypatch):
    from apex_nautilus.cli.forge_commands import _progress

    show = _progress.Progress.show

    def interrupt(self, report: GenerationReport):
        show(self, report)
        if report.generation == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(_progress.Progress, "show", interrupt)
    result = evolve(folder, "d", code=130)
    assert f"apex-forge resume {folder / 'd'}" in result.stderr
    assert "generation 1" in result.stderr
    monkeypatch.undo()
    run("resume", folder / "d")
    assert (folder / "d" / "checkpoint.json").read_bytes() == (folder / "a" / "checkpoint.json").read_bytes()


def test_worker_and_jobs(folder):
    catalog = folder / "jobs-catalog"
    queue = FileJobQueue(CatalogLayout(catalog))
    queue.put(RecycleJob.create(asset=planted.INSTRUMENT.id, slot="btc-1", created_ns=10**18))
    queue.put(RecycleJob.create(asset="SOLUSDT-LINEAR.SIM", slot="sol-1", created_ns=10**18))
    result = run(
        "worker", "--catalog", catalog, "--dataset-root", folder / "data", "--once", "--population", "12",
        "--generations", "1", "--threads", "1",
    )  # fmt: skip
    assert "2 jobs closed" in result.stdout
    states = {
        job["job"]["slot"]: job for job in json.loads(run("jobs", "--catalog", catalog, "--json").stdout)
    }
    assert states["btc-1"]["state"] == "done"
    assert states["sol-1"]["state"] == "failed"
    assert "no dataset of SOLUSDT" in states["sol-1"]["reason"]
    assert CatalogLayout(catalog).incoming_file(states["btc-1"]["result"]["genome_id"]).exists()
    assert "failed" in run("jobs", "--catalog", catalog).stdout


def test_convert_gives_the_older_form_a_probability_and_warns(folder):
    old = folder / "old.json"
    feature = {"primitive": {"Feature": 0}}
    old.write_text(
        json.dumps({"root": {"primitive": "Add", "children": [feature, {"primitive": {"Feature": 2}}]}})
    )
    target = folder / "new.json"
    result = run(
        "convert", old, "--instrument", planted.INSTRUMENT.id, "--dataset", folder / "data" / "btc",
        "--max-hold", "30", "--out", target,
    )  # fmt: skip
    assert "clv was the mid's place in the spread" in result.stderr
    document = json.loads(target.read_bytes())
    assert document["calibration"]["kind"] == "platt"
    assert document["evidence"]["gate"] == "none"
    assert document["evidence"]["out_of_sample"]["trades"] is not None
    run("inspect", target)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evolve"], "give --dataset, or --instrument"),
        (["evolve", "--dataset", "nowhere"], "no dataset here"),
        (
            ["evolve", "--dataset", "nowhere", "--features", "imbalanc"],
            "--features is for a dataset made here",
        ),
        (["evolve", "--dataset", "nowhere", "--clock", "1s"], "--clock is for a dataset made here"),
        (["evolve", "--config", "deep.json"], "configuration (deep.json and options)"),
        (["worker", "--catalog", "other", "--dataset-root", "other"], "other is not a catalog"),
        (["jobs", "--catalog", "other"], "other is not a catalog"),
        (["evolve", "--dataset", "nowhere", "--population", "1"], "population is 1"),
        (["inspect", "0123456789abcdef"], "has no readable genome"),
        (["resume", "."], "is not a run"),
    ],
)
def test_bad_input_is_one_clear_message(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep.json").write_text('{"stops":' + "[" * 200_000)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "holiday.jpg").touch()
    result = run(*arguments, code=1)
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["evolve", "--seed", "-1"],
        ["worker", "--dataset-root", ".", "--catalog", "nowhere"],
        ["worker", "--dataset-root", ".", "--catalog", ".", "--poll", "-1"],
    ],
)
def test_an_option_out_of_bounds_is_refused_before_anything_is_made(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    run(*arguments, code=2)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_before_it_began_may_be_begun_again(folder):
    assert "no readable genome" in evolve(folder, "f", "--from", "0" * 16, code=1).stderr
    evolve(folder, "f", "--generations", "0", "--no-deploy", "--catalog", folder / "catalog-f")


def test_what_was_not_deployed_is_said_to_be_in_the_ledger_only_when_it_is(folder):
    brief = ("--generations", "0", "--dsr", "1", "--catalog", folder / "catalog-g")
    assert "in the ledger" in evolve(folder, "g", *brief).stdout
    assert "in the ledger" not in evolve(folder, "h", *brief, "--no-deploy").stdout


def test_studies_that_opened_the_same_test_part_are_told(folder):
    catalog = folder / "shared"
    brief = ["--generations", "0", "--lottery", "0", "--catalog", catalog]
    assert "opened the test part" not in evolve(folder, "i", *brief, "--seed", "1").stdout
    assert "1 other study has opened the test part" in evolve(folder, "j", *brief, "--seed", "2").stdout


def test_a_run_folder_is_not_overwritten(folder):
    assert "holds a run already" in evolve(folder, "a", code=1).stderr


def test_a_dataset_of_another_instrument_is_refused(folder):
    assert "not of ETHUSDT" in evolve(folder, "e", "--instrument", "ETHUSDT-LINEAR.SIM", code=1).stderr
