"""`segship gate`: does a record keep within budgets of its baseline?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..common.cli_gate import gate_options
from ..common.cli_options import FILE, refuse_given
from ..common.cli_outputs import check_outputs
from .shared import aside, console

if TYPE_CHECKING:
    from ..benchmark.gate.outcome import GateResult


@click.command()
@click.argument("records", nargs=-1, required=True, metavar="RECORD...", type=FILE)
@gate_options
@click.pass_context
def gate(
    ctx: click.Context, /, records: tuple[Path, ...], update: bool, reason: str, **options: Any
) -> None:
    """Fail where a record is surely worse than its baseline by more than a budget.

    Intervals decide: over images for accuracy, over rounds of one run or over repeated runs for
    times. What cannot be compared (another machine, other data, one run of each) fails as well.
    Exit codes: 0 passed (warnings too), 1 failed or cannot compare, 2 wrong input.

    Example: segship gate record.json --baseline baseline.json --policy gate.yaml --junit gate.xml
    """
    outputs = {name: options.pop(name) for name in ("junit", "json_path", "markdown")}
    baselines = options.pop("baselines")
    if update:
        _refuse_update(records, baselines)
        check_outputs([*outputs.values(), *baselines], [*records, options["policy"]])
    else:
        refuse_given(ctx, "Only --update writes a baseline", "reason")
        check_outputs(outputs.values(), [*records, *baselines, options["policy"]])
    github = options.pop("github")
    result = None
    if not (update and _is_new(baselines[0])):
        result = _check(records, baselines, **options)
        _deliver(result, outputs, github)
    if update:
        _update(records[0], baselines[0], reason or "", result)
    elif result is not None and not result.passed:
        ctx.exit(1)


def _check(
    records: tuple[Path, ...],
    baselines: tuple[Path, ...],
    policy: Path | None,
    name: str | None,
    baseline_name: str | None,
    remeasure: bool,
) -> GateResult:
    from ..benchmark.gate.compare import check_pair
    from ..benchmark.gate.load import load_records
    from ..benchmark.gate.pairing import find_pair
    from ..benchmark.gate.policy import DEFAULT, load_policy

    budgets = load_policy(policy) if policy else DEFAULT
    pair = find_pair(
        load_records(records), load_records(baselines), name=name, baseline_name=baseline_name
    )
    if remeasure:
        from ..benchmark.gate.remeasure import remeasure as measure_again

        pair = measure_again(pair)
    return check_pair(pair, budgets)


def _deliver(result: GateResult, outputs: dict[str, Path | None], github: bool) -> None:
    from ..reports.gate_github import github_lines
    from ..reports.gate_table import print_gate
    from ..reports.gate_write import write_gate

    print_gate(result, console())
    for line in github_lines(result) if github else ():
        click.echo(line)
    for path in write_gate(result, **outputs):
        click.echo(f"written: {path}")


def _refuse_update(records: tuple[Path, ...], baselines: tuple[Path, ...]) -> None:
    if len(baselines) != 1 or len(records) != 1:
        raise click.UsageError("--update takes one RECORD and one --baseline file to write.")


def _is_new(baseline: Path) -> bool:
    """Say whether there is no baseline yet, or one of another schema, which nothing compares to."""
    from ..benchmark.integrity import OtherSchemaError
    from ..benchmark.record import load_record

    if not baseline.exists():
        return True
    try:
        load_record(baseline)
    except OtherSchemaError:
        return True
    return False


def _update(record: Path, baseline: Path, reason: str, result: GateResult | None) -> None:
    from ..benchmark.gate.load import load_records
    from ..benchmark.gate.update import save_baseline

    save_baseline(load_records([record])[0], baseline, reason)
    what = "new" if result is None else f"was: {result.status.value}, see above"
    aside(f"baseline: {baseline} ({what}); review and commit it.")
