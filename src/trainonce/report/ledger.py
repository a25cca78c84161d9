"""The ledger of claims for people and programs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trainonce.papers.claims import Claim
from trainonce.papers.looks import Found
from trainonce.papers.results import Result, is_stale, kept
from trainonce.papers.verdicts import Decision
from trainonce.report.sentences import interval, number, p_value
from trainonce.sites import Site

STYLES = {
    Decision.HOLDS: "bold green",
    Decision.FAILS: "bold blue",
    Decision.CANNOT_TELL: "bold yellow",
    Decision.NOT_AT_THIS_SCALE: "yellow",
}
OPEN = "not re-tested"
_CORES = 2  # that budgets are of
_SITES = tuple(site.value for site in Site)


def claim_json(claim: Claim) -> dict[str, Any]:
    """A claim and what became of it, as JSON data; null where it was not re-tested."""
    result = kept(claim)
    decided = result.decided if result else None
    return {
        "id": claim.id,
        "paper": claim.paper,
        "title": claim.title,
        "arxiv": claim.arxiv,
        "method": ", ".join(claim.methods),
        "methods": list(claim.methods),
        "site": claim.site,
        "claim": claim.says,
        "verdict": result.verdict.value if result else None,
        "effect": decided.effect if decided else None,
        "low": decided.low if decided else None,
        "high": decided.high if decided else None,
        "outcome": decided.outcome if decided else None,
        "smallest": decided.smallest if decided else None,
        "units": decided.units if decided else None,
        "seconds": result.seconds if result else None,
        "date": result.date if result else None,
        "stale": bool(result and is_stale(claim, result)),
        "note": claim.note,
    }


def claims_view(claims: Iterable[Claim]) -> RenderableType:
    """All claims, a line each, by the site that they are about."""
    table = Table(title="Claims", title_justify="left", box=None, padding=(0, 1, 0, 0))
    for name in ("id", "verdict", "effect", "95 % interval"):
        table.add_column(name, justify="right" if name == "effect" else "left", no_wrap=True)
    # the column that a narrow terminal can do without: the claim's own page says it whole
    table.add_column("outcome", overflow="ellipsis")
    counts: dict[str, int] = {}
    for site, of_site in groupby(sorted(claims, key=_place), key=lambda claim: claim.site):
        table.add_row(Text(site, style="bold"))
        for claim in of_site:
            result = kept(claim)
            verdict = result.verdict.value if result else OPEN
            counts[verdict] = counts.get(verdict, 0) + 1
            table.add_row(f"  {claim.id}", *_numbers(claim, result))
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return Group(table, Text(f"{sum(counts.values())} claims: {told or 'none'}."))


def _place(claim: Claim) -> tuple[int, str]:
    return _SITES.index(claim.site), claim.id


def _numbers(claim: Claim, result: Result | None) -> tuple[Text | str, ...]:
    if result is None:
        return Text(OPEN, style="dim"), "", "", ""
    verdict = Text(result.verdict.value, style=STYLES[result.verdict])
    if is_stale(claim, result):
        verdict.append(" (its study changed since)", style="dim")
    decided = result.decided
    outcome = Text(decided.outcome, no_wrap=True, overflow="ellipsis")
    return verdict, _effect(decided), _interval(decided), outcome


def claim_view(claim: Claim, result: Result | None) -> RenderableType:
    """One claim: what the paper says, what was asked here, and what was found."""
    source = f"arXiv {claim.arxiv}" if claim.arxiv else (claim.venue or "")
    parts: list[RenderableType] = [
        Text(claim.title, style="bold"),
        Text(f"{claim.authors}, {claim.year}. {source}".strip(), style="dim"),
        Text(f"\nThe paper says: {claim.says}"),
        Text(f"Re-tested: {claim.decides} must be {claim.holds}{_than(claim)}.\n"),
    ]
    if result is None:
        parts.append(Text(f"Not re-tested; next: trainonce reproduce {claim.id}", style="yellow"))
    else:
        parts.append(_verdict(result))
        table = Table(expand=False)
        for name in ("question", "answer", "effect", "95 % interval", "corrected", "against", "is"):
            table.add_column(name)
        for found in (result.decided, *result.others):
            table.add_row(
                Text(f"{found.question} - {found.against}" if found.against else found.question),
                found.verdict,
                _effect(found),
                _interval(found),
                p_value(found.p_adjusted),
                _shown(found.base),
                _shown(found.arm),
            )
        parts.append(table)
        parts.append(
            Text(
                f"{len(result.seeds)} seeds; {_seconds(result)}, budget "
                f"{result.budget:.0f} s on two; "
                f"torch {result.versions['torch']}, {result.date}"
            )
        )
        if is_stale(claim, result):
            parts.append(Text("Its study was changed since: reproduce it again.", style="yellow"))
    if claim.note:
        parts.append(Padding(Text(claim.note), (1, 0, 0, 0)))
    return Group(*parts)


def over_budget(claim: Claim, result: Result) -> str | None:
    """That the study of a claim took longer than it may on two cores, where it did.

    Two cores that do nothing else spend two seconds on jobs in each second.
    """
    if result.seconds <= _CORES * result.budget:
        return None
    budget = f"its budget of {result.budget:.0f} s on two cores"
    return f"{claim.paper} took longer than {budget}: {_seconds(result)}"


def _seconds(result: Result) -> str:
    clock = "of a processor" if result.clock == "processor" else "by the clock"
    return f"{result.seconds:.0f} s {clock}"


def _than(claim: Claim) -> str:
    """What the deciding effect is compared with, where that is another effect."""
    each = "each of " if len(claim.against) > 1 else ""
    return f" than {each}{', '.join(claim.against)}" if claim.against else ""


def _verdict(result: Result) -> Text:
    text = Text(result.verdict.value.capitalize(), style=STYLES[result.verdict])
    decided = result.decided
    asked = (
        f"{decided.outcome}: the effect of {decided.question} less that of {decided.against} is"
        if decided.against
        else f"{decided.ask} {decided.outcome}: an effect of"
    )
    return text.append(
        f". {asked} {_effect(decided)} "
        f"({_interval(decided)}); smallest of interest {number(decided.smallest)}.",
        style="default not bold",
    )


def _effect(found: Found) -> str:
    return _shown(found.effect)


def _interval(found: Found) -> str:
    if found.low is None or found.high is None:
        return "none"
    return interval(found.low, found.high)


def _shown(value: float | None) -> str:
    return "none" if value is None else number(value)
