"""Commands about the claims of papers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trainonce.cli.arguments import AsJson
from trainonce.cli.completion import claim_names

if TYPE_CHECKING:
    from trainonce.papers.claims import Claim
    from trainonce.papers.results import Result


def papers(
    claim: Annotated[
        str | None,
        typer.Argument(
            help="One claim, with all that was found; or a paper, with its directions.",
            show_default=False,
            autocompletion=claim_names,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what papers claim, and what became of it when it was re-tested here.

    A verdict is computed from measurements: holds, fails, cannot tell, or not at this scale.
    """
    from trainonce.cli.console import exit_codes, show, show_json
    from trainonce.papers.results import kept
    from trainonce.report.ledger import claim_json, claim_view, claims_view

    with exit_codes():
        known = _known([claim] if claim else None)
        alone = claim is not None and len(known) == 1
        if as_json:
            found = [claim_json(one) for one in known]
            show_json(found[0] if alone else found)
        elif alone:
            show(claim_view(known[0], kept(known[0])))
        else:
            show(claims_view(known))


def reproduce(
    claim: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids of claims; a paper's stands for all its directions.",
            show_default=False,
            autocompletion=claim_names,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All claims, as one plan.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds in place of each study's own.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write each result as JSON into this folder.", metavar="FOLDER"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes side by side; as many as cores if left out."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what it takes, and train nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Re-test claims of papers on this machine, and compute their verdicts anew.

    Several claims run as one plan: what they share is trained once, and finished jobs are never run
    twice. A claim whose data come from a package that is not installed is left out, and told.
    """
    from trainonce.cli.console import WRONG, errors, exit_codes, show, show_json
    from trainonce.cli.progress import study_progress
    from trainonce.papers.claims import claims
    from trainonce.papers.reproduce import carried_out, missing, plan_papers, together
    from trainonce.papers.reproduce import reproduce as retest
    from trainonce.plan.cost import predict
    from trainonce.report.ledger import claim_view, over_budget
    from trainonce.report.terminal import plan_view
    from trainonce.run.cache import JobCache
    from trainonce.stream.home import home

    if bool(claim) == everything:
        errors().print("name claims, or ask for --all of them; `trainonce papers` lists them")
        raise typer.Exit(WRONG)
    with exit_codes():
        wanted = list(claims().values()) if everything else _known(claim)
        lacking = {one.id: absent for one in wanted if (absent := missing(one))}
        for name, absent in lacking.items():
            text = f"{name} is left out: not installed: {', '.join(absent)}"
            errors().print(text, style="yellow", markup=False, soft_wrap=True)
        wanted = [one for one in wanted if one.id not in lacking]
        if not wanted:
            raise typer.Exit(WRONG)
        where = home()
        plans = plan_papers(wanted, where, seeds)
        whole = together(plans)
        if plan:
            if as_json:
                show_json(whole.to_json())
                return
            cache = JobCache(where)
            for part in carried_out(plans):
                done = {job.key for job in part.jobs if cache.done(job.key)}
                show(plan_view(part, done, predict(part, workers)))
            return

        def write(_claim: Claim, result: Result) -> None:
            if out is not None:
                errors().print(f"wrote {result.write(out)}", markup=False, soft_wrap=True)

        with study_progress(whole, errors()) as tell:
            results = retest(wanted, where, seeds=seeds, workers=workers, report=tell, found=write)
        if as_json:
            show_json([result.to_json() for result in results])
        else:
            for one, result in zip(wanted, results, strict=True):
                show(claim_view(one, result))
        # once a paper: its claims are of one study
        for told in dict.fromkeys(map(over_budget, wanted, results)):
            if told is not None:
                errors().print(told, style="yellow", markup=False, soft_wrap=True)


def _known(names: list[str] | None) -> list[Claim]:
    """The claims of some names, all of them when None; a name that is none ends the command."""
    from trainonce.cli.console import WRONG, errors
    from trainonce.papers.claims import claim_names, claims, claims_named
    from trainonce.study.problems import nearest

    for name in names or ():
        if not claims_named(name):
            errors().print(f"no claim {name!r}: {nearest(name, claim_names())}", markup=False)
            raise typer.Exit(WRONG)
    found = [one for name in names or () for one in claims_named(name)]
    return list({one.id: one for one in found}.values()) if names else list(claims().values())
