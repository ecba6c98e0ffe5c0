"""The verbs of apex-forge, from a dataset folder to a challenger's file."""

from __future__ import annotations

import json

import planted
import pytest
from click.testing import CliRunner

from apex_nautilus.cli.forge import main
from apex_nautilus.forge import GenerationReport
from apex_nautilus.store import CatalogLayout, FileJobQueue, RecycleJob

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

    evolve(folder, "b", "--generations", "1", "--no-deploy")
    run("resume", folder / "b", "--generations", "2", "--threads", "2")
    assert (folder / "b" / f"genome_{genome_id}.json").read_bytes() == written
    assert (folder / "b" / "checkpoint.json").read_bytes() == (folder / "a" / "checkpoint.json").read_bytes()

    assert (
        json.loads(run("inspect", genome_id, "--catalog", folder / "catalog", "--json").stdout)["id"]
        == genome_id
    )
    shown = run("inspect", folder / "a" / f"genome_{genome_id}.json").stdout
    assert "out of sample" in shown
    assert "signal = " in shown


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
        (["evolve", "--dataset", "nowhere", "--population", "1"], "population is 1"),
        (["inspect", "0123456789abcdef"], "has no readable genome"),
        (["resume", "."], "is not a run"),
    ],
)
def test_bad_input_is_one_clear_message(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments, code=1)
    assert result.stderr.count("\n") == 1
    assert message in result.stderr


def test_a_run_folder_is_not_overwritten(folder):
    assert "holds a run already" in evolve(folder, "a", code=1).stderr


def test_a_dataset_of_another_instrument_is_refused(folder):
    assert "not of ETHUSDT" in evolve(folder, "e", "--instrument", "ETHUSDT-LINEAR.SIM", code=1).stderr
