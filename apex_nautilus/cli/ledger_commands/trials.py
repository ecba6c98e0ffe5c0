"""Print the trials of the Forge's studies, and how many there were."""

from __future__ import annotations

from pathlib import Path

import click

from apex_nautilus.cli._ledger import common_options, open_ledger, print_rows

__all__ = ["command"]

_COLUMNS = (
    ("study", "study_id"),
    ("trial", "number"),
    ("generation", "generation"),
    ("fitness", "fitness"),
    ("trades", "trades"),
    ("Sharpe", "sharpe"),
    ("key", "key"),
)


@click.command()
@common_options
@click.option("--study", default=None, help="Only this study (a prefix of its id will do).")
@click.option("--summary", is_flag=True, help="One line a study: number of trials, variance of their Sharpe.")
def command(root: Path, study: str | None, summary: bool, last: int | None, as_json: bool) -> None:
    """Print every trial that the Forge made below ROOT, the failed ones included.

    Their number and the variance of their Sharpe ratios are what a study's deflated Sharpe ratio is made
    from.

    \b
    apex ledger trials --summary
    """
    rows = [
        {"ts_ns": line.ts_ns, **line.fields}
        for line in open_ledger(root, ("trial",))
        if study is None or str(line.fields.get("study_id", "")).startswith(study)
    ]
    if not summary:
        print_rows("trials", rows, _COLUMNS, last=last, as_json=as_json)
        return
    from apex_nautilus.stats import trial_variance

    ratios: dict[str, list[float]] = {}
    for row in rows:
        ratios.setdefault(str(row.get("study_id", "")), []).append(float(row.get("sharpe") or 0.0))
    studies = [
        {"study_id": name, "trials": len(s), "variance": trial_variance(s), "best_sharpe": max(s)}
        for name, s in ratios.items()
    ]
    columns = (
        ("study", "study_id"), ("trials", "trials"), ("variance of Sharpe", "variance"),
        ("best Sharpe", "best_sharpe"),
    )  # fmt: skip
    print_rows("studies", studies, columns, last=last, as_json=as_json)
