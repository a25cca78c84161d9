"""The figures of the report.

Colours are names of the page's CSS variables (``var(--ink)``), which the page's script puts in, so
that a figure follows the reader's light or dark scheme. What comes from a study is escaped: plotly
renders some HTML in its texts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from trainonce.analysis.answers import (
    Answer,
    Curve,
    DoseAnswer,
    OutcomeAnswer,
    PartCurve,
    StepAnswer,
)
from trainonce.report.sentences import interval, number
from trainonce.sites import Unit

_DASHES = ("solid", "dot", "dash", "dashdot")
_MOST_TOLD = 12
_BESIDE = 0.02  # of the axis: how far the plain run's means stand from the trunk's
_ASIDE = 0.12  # of the distance of two arms: how far the points of seeds stand from the mean
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"


def dose_response(answer: Answer, height: int = 250) -> go.Figure:
    """The deciding outcome over doses, with dose 0 as the line to compare with.

    Doses stand at log2(1 + dose), the scale of the trend test. The band holds the effects that are
    smaller than the smallest effect of interest. What the outcome is stands above, on the page.
    """
    decided = answer.decided
    ticks = [place(dose.dose) for dose in decided.doses]
    span = (ticks[-1] - ticks[0]) or 1.0
    base = decided.doses[0].mean
    figure = blank(height)
    if answer.plain is not None:
        figure.add_trace(_means(answer.plain, "plain run", span * _BESIDE))
    figure.add_trace(_means(decided, "trunk", 0.0))
    _draw_comparison(figure, answer, base)
    figure.update_xaxes(
        title_text=f"dose: {escape(answer.dose)}",
        tickvals=ticks,
        ticktext=[f"{dose.dose:,}" for dose in decided.doses],
        range=[ticks[0] - 0.06 * span, ticks[-1] + 0.06 * span],
        showgrid=False,
    )
    return figure


def over_steps(answer: Answer, height: int = 250) -> go.Figure:
    """The effect of the highest dose over the steps of the run, with its 95 % interval."""
    shown = answer.decided.over_steps
    figure = blank(height)
    figure.add_trace(
        go.Scatter(
            x=[one.step for one in shown],
            y=[one.estimate for one in shown],
            error_y=_whiskers([(one.low, one.estimate, one.high) for one in shown]),
            mode="lines+markers",
            name="effect",
            line={"color": "var(--series)", "width": 1.25},
            marker={"color": "var(--series)", "size": 8},
            customdata=[_step_in_words(one) for one in shown],
            hovertemplate="%{customdata}",
        )
    )
    figure.add_hline(y=0.0, line={"color": "var(--muted)", "width": 1, "dash": "dash"})
    figure.update_xaxes(title_text="step", showgrid=False)
    figure.update_yaxes(title_text=f"effect of dose {answer.decided.doses[-1].dose:,}")
    return figure


def steps_in_words(answer: Answer) -> str:
    """What the figure over steps shows, for those who do not see it. Not escaped."""
    shown = "; ".join(map(_step_in_words, answer.decided.over_steps))
    return f"Effect on {answer.decided.outcome} over steps. {shown}."


def _step_in_words(found: StepAnswer) -> str:
    return f"step {found.step}: {number(found.estimate)} ({interval(found.low, found.high)})"


def arms(answer: Answer, height: int = 250) -> go.Figure:
    """Each arm's difference from the base run: mean, interval, and a point a seed.

    The band holds the effects that are smaller than the smallest effect of interest.
    """
    shown = [arm for arm in answer.decided.doses[1:] if arm.diverged_at is None]
    places = list(range(len(shown)))
    figure = blank(height)
    figure.add_trace(
        go.Scatter(
            x=[place + _ASIDE for place, arm in enumerate(shown) for _ in arm.points],
            y=[point for arm in shown for point in arm.points],
            mode="markers",
            name="seeds",
            marker={
                "color": "var(--paper)",
                "line": {"color": "var(--faint)", "width": 1.5},
                "size": 6,
            },
            hovertemplate="%{y:.4g}",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=places,
            y=[arm.effect for arm in shown],
            error_y=_whiskers(
                [(arm.effect_low, arm.effect, arm.effect_high) for arm in shown],
                visible=all(math.isfinite(arm.effect_low) for arm in shown),
            ),
            mode="markers",
            name="mean",
            marker={"color": "var(--series)", "size": 8},
            customdata=[escape(_hover(arm)) for arm in shown],
            hovertemplate="%{customdata}",
        )
    )
    _draw_comparison(figure, answer, 0.0)
    figure.update_xaxes(
        tickvals=places,
        ticktext=[escape(arm.label or "") for arm in shown],
        range=[-0.6, len(shown) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(title_text=f"difference from {escape(answer.decided.doses[0].label or '')}")
    return figure


def training_curves(curves: Sequence[Curve]) -> go.Figure:
    """The training losses, a line a run: of the trunk, of the plain run, and faint of all others.

    The legend has these three; a line tells its own name to who points at it.
    """
    figure = blank(320)
    seeds = sorted({curve.seed for curve in curves})
    told: set[str] = set()
    for curve in sorted(curves, key=_nearness):  # the last lies on top
        group, colour, width = _CURVES[_nearness(curve)]
        figure.add_trace(
            go.Scatter(
                x=curve.steps,
                y=curve.losses,
                name=group,
                legendgroup=group,
                showlegend=group not in told,
                mode="lines",
                legendrank=3 - _nearness(curve),
                line={
                    "color": colour,
                    "width": width,
                    "dash": _DASHES[seeds.index(curve.seed) % len(_DASHES)],
                },
                hovertemplate=(
                    f"{escape(curve.name)}, seed {curve.seed}<br>step %{{x}}: %{{y:.3f}}"
                    "<extra></extra>"
                ),
            )
        )
        told.add(group)
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(title_text="step", showgrid=False)
    figure.update_yaxes(title_text="training loss, nats a token")
    return figure


def curves_by_part(curves: Sequence[PartCurve]) -> go.Figure:
    """The training losses on each part of the corpus, a colour a part; of the plain run dotted."""
    figure = blank(320)
    parts = list(dict.fromkeys(curve.part for curve in curves))
    for curve in curves:
        number = parts.index(curve.part)
        plain = curve.name == "plain run"
        figure.add_trace(
            go.Scatter(
                x=curve.steps,
                y=curve.losses,
                name=escape(curve.part if not plain else f"{curve.part}, {curve.name}"),
                legendgroup=escape(curve.part),
                mode="lines",
                line={
                    "color": _PARTS[number % len(_PARTS)],
                    "width": 1.0 if plain else 1.75,
                    "dash": "dot" if plain else _DASHES[::2][number // len(_PARTS) % 2],
                },
                hovertemplate=(
                    f"{escape(curve.part)}, {escape(curve.name)}<br>up to step %{{x}}: %{{y:.3f}}"
                    "<extra></extra>"
                ),
            )
        )
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(title_text="step", showgrid=False)
    figure.update_yaxes(title_text="training loss, nats a token")
    return figure


_PARTS = ("var(--series)", "var(--cannot-tell)", "var(--yes)", "var(--ink)", "var(--faint)")

_CURVES = (
    ("other runs", "var(--rule)", 1.0),
    ("plain run", "var(--faint)", 1.5),
    ("trunk", "var(--series)", 1.75),
)


def _nearness(curve: Curve) -> int:
    """How much a line is to be seen."""
    return {"trunk": 2, "plain run": 1}.get(curve.name, 0)


def in_words(answer: Answer) -> str:
    """What the figure of an answer shows, for those who do not see it. Not escaped."""
    if answer.unit is Unit.RUN:
        shown = "; ".join(map(_hover, answer.decided.doses[1:]))
        return f"Difference from {answer.decided.doses[0].label}. {shown}."
    text = f"Dose response of {answer.decided.outcome}. {_doses_in_words(answer.decided)}."
    if answer.plain is not None:
        text += f" Plain run: {_doses_in_words(answer.plain)}."
    return text


def curves_in_words(curves: Sequence[Curve]) -> str:
    """Where each training curve begins and ends. Not escaped."""
    ends = (
        f"{curve.name}, seed {curve.seed}: from {curve.losses[0]:.2f} to {curve.losses[-1]:.2f}"
        for curve in curves
        if _nearness(curve) or len(curves) <= _MOST_TOLD
    )
    return f"Training loss over steps, nats a token. {'; '.join(ends)}."


def parts_in_words(curves: Sequence[PartCurve]) -> str:
    """Where the curve of each part begins and ends. Not escaped."""
    ends = (
        f"{curve.part}, {curve.name}: from {curve.losses[0]:.2f} to {curve.losses[-1]:.2f}"
        for curve in curves
    )
    return f"Training loss over steps by part of the corpus, nats a token. {'; '.join(ends)}."


def _doses_in_words(outcome: OutcomeAnswer) -> str:
    return "; ".join(
        f"dose {dose.dose}: {number(dose.mean)} ({interval(dose.low, dose.high)})"
        for dose in outcome.doses
    )


def place(dose: int) -> float:
    """Where a dose stands: the scale of the trend test."""
    return math.log2(1 + dose)


def _means(outcome: OutcomeAnswer, name: str, shift: float) -> go.Scatter:
    """Means over doses: of the trunk with their intervals, of the plain run faint and without."""
    trunk = name == "trunk"
    colour = "var(--series)" if trunk else "var(--faint)"
    return go.Scatter(
        x=[place(dose.dose) + shift for dose in outcome.doses],
        y=[dose.mean for dose in outcome.doses],
        error_y=_whiskers(
            [(dose.low, dose.mean, dose.high) for dose in outcome.doses], visible=trunk
        ),
        mode="lines+markers",
        name=name,
        line={"color": colour, "width": 1.25 if trunk else 1, "dash": "solid" if trunk else "dot"},
        marker={
            "color": colour if trunk else "var(--paper)",
            "line": {"color": colour, "width": 1.5},
            "size": 8 if trunk else 6,
        },
        customdata=[_hover(dose) for dose in outcome.doses],
        hovertemplate="%{customdata}",
    )


def _draw_comparison(figure: go.Figure, answer: Answer, base: float) -> None:
    """A line at what is compared with, and the band of effects too small to be of interest."""
    ways = [answer.direction] if answer.direction else [1, -1]
    edges = [base, *(base + way * answer.smallest for way in ways)]
    figure.add_hrect(
        y0=min(edges),
        y1=max(edges),
        fillcolor="var(--series)",
        opacity=0.1,
        line_width=0,
        layer="below",
    )
    figure.add_hline(y=base, line={"color": "var(--muted)", "width": 1, "dash": "dash"})


def _whiskers(
    shown: Sequence[tuple[float, float, float]], *, visible: bool = True
) -> dict[str, Any]:
    """Intervals, each as its lower end, the estimate and its upper end."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - middle for _, middle, high in shown],
        "arrayminus": [middle - low for low, middle, _ in shown],
        "color": "var(--series)",
        "thickness": 1.5,
        "width": 3,
        "visible": visible,
    }


def _hover(dose: DoseAnswer) -> str:
    if dose.diverged_at is not None:
        return str(dose.label)
    if dose.label is not None:
        return (
            f"{dose.label}: {number(dose.effect)} ({interval(dose.effect_low, dose.effect_high)})"
        )
    return f"dose {dose.dose}: {number(dose.mean)} ({interval(dose.low, dose.high)})"


def blank(height: int) -> go.Figure:
    """A figure in the page's style, without anything in it."""
    axis = {
        "automargin": True,
        "fixedrange": True,  # a finger on the plot must scroll the page
        "gridcolor": "var(--hair)",
        "linecolor": "var(--rule)",
        "tickcolor": "var(--rule)",
        "ticks": "outside",
        "ticklen": 4,
        "zeroline": False,
        "title_font_size": 13,
        "title_standoff": 10,
    }
    return go.Figure(
        layout=go.Layout(
            template=go.layout.Template(),  # the default one paints its own colours
            height=height,
            margin={"l": 36, "r": 8, "t": 10, "b": 44},
            paper_bgcolor="rgba(0,0,0,0)",
            plot_bgcolor="rgba(0,0,0,0)",
            font={"family": _FONT, "size": 12, "color": "var(--muted)"},
            hoverlabel={
                "bgcolor": "var(--paper)",
                "bordercolor": "var(--rule)",
                "font_color": "var(--ink)",
            },
            showlegend=False,
            dragmode=False,
            xaxis=axis,
            yaxis=axis,
        )
    )
