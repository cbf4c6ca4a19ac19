"""Plots as SVG elements for a page: no file, no script, no font, no address of another machine.

A plot takes its colours from the page's CSS variables, so that one plot serves light and dark. What a colour says is
said a second time by a dash, a marker, a hatch or a word.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INKS = {
    "ink": "#010a01",
    "rule": "#020a02",
    "first": "#030a03",
    "second": "#040a04",
    "third": "#050a05",
    "attack": "#060a06",
}
"""Colours that stand in a drawing for the page's CSS variables of these names."""
STYLES = (("first", "-", "o"), ("second", "--", "s"), ("third", ":", "^"))
WIDTH, HEIGHT, ROW = 4.4, 3.1, 0.28
"""Inches. Drawn this small, 11-point text can still be read on a phone."""
LONGEST_LABEL = 22


@dataclass(frozen=True)
class Plot:
    """An SVG element: `alt` says in words what it shows, `body` is markup that is safe to put into a page."""

    title: str
    alt: str
    viewbox: str
    body: str


@dataclass(frozen=True)
class Bar:
    """`text` stands at the bar's end; a marked bar is hatched and has another colour."""

    label: str
    value: float
    text: str
    marked: bool = False


def lines(name: str, title: str, alt: str, xs: Sequence[int], series: Mapping[str, Sequence[float | None]]) -> Plot:
    """Up to three lines of shares (0 to 1) over rounds; None leaves a gap."""
    with _drawing(name, HEIGHT) as (figure, axes):
        for (label, ys), (ink, dash, marker) in zip(series.items(), STYLES, strict=False):
            axes.plot(
                xs,
                [math.nan if y is None else y for y in ys],
                color=INKS[ink],
                linestyle=dash,
                marker=marker,
                markersize=6,
                linewidth=2,
                label=label,
                clip_on=False,
            )
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:.0%}")
        axes.locator_params("x", integer=True)
        axes.set_xlim(min(xs) - 0.15, max(xs) + 0.15)
        axes.set_xlabel("round (0 = before the first)")
        axes.grid(axis="y", color=INKS["rule"], linewidth=0.6)
        figure.legend(loc="outside upper left", frameon=False, ncols=1, handlelength=3.5, borderpad=0)
        return Plot(title, alt, *_svg(name, figure))


def bars(name: str, title: str, alt: str, rows: Sequence[Bar], legend: tuple[str, str] | None = None) -> Plot:
    """Horizontal bars, the first on top; `legend` names the plain and the marked ones."""
    from matplotlib.patches import Patch

    plain: dict[str, Any] = {"facecolor": INKS["first"], "edgecolor": INKS["first"]}
    marked: dict[str, Any] = {"facecolor": "none", "edgecolor": INKS["attack"], "hatch": "////"}
    with _drawing(name, 0.5 + ROW * len(rows) + (0.3 if legend else 0)) as (figure, axes):
        places = range(len(rows))
        for place, row in zip(places, rows, strict=True):
            axes.barh(place, row.value, height=0.66, linewidth=1, **(marked if row.marked else plain))
            axes.annotate(
                row.text, (max(row.value, 0), place), (4, 0), textcoords="offset points", va="center", ha="left"
            )
        axes.set_yticks(list(places), [_short(row.label) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        most = max(row.value for row in rows)
        axes.set_xlim(0, most if most > 0 else 1)  # the layout leaves room for the text beyond
        axes.set_xticks([])
        axes.tick_params(axis="y", length=0)
        axes.spines["bottom"].set_visible(False)
        if legend:
            handles = [Patch(label=label, **style) for label, style in zip(legend, (plain, marked), strict=True)]
            figure.legend(handles=handles, loc="outside upper left", frameon=False, ncols=2, borderpad=0)
        return Plot(title, alt, *_svg(name, figure))


@contextmanager
def _drawing(name: str, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure and its axes while matplotlib's settings are ours. Nothing of pyplot, so no window system is asked."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {  # its names are a type of their own in matplotlib
        "font.size": 11,
        "font.family": "sans-serif",
        "text.parse_math": False,  # a name may hold dollar signs
        "axes.unicode_minus": False,
        "svg.fonttype": "none",  # text stays text, in the page's font
        "svg.hashsalt": name,
        "hatch.linewidth": 1.4,
        "text.color": INKS["ink"],
        "axes.labelcolor": INKS["ink"],
        "axes.edgecolor": INKS["rule"],
        "xtick.color": INKS["ink"],
        "ytick.color": INKS["ink"],
    }
    with rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_facecolor("none")
        axes.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"


def _svg(name: str, figure: Figure) -> tuple[str, str]:
    """The drawing's view box, and what is inside its <svg>, fit for a page that holds others of its kind."""
    file = io.BytesIO()
    with warnings.catch_warnings():  # a name in a script that matplotlib's font lacks: the page's font shows it
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format="svg", transparent=True)
    root = ElementTree.fromstring(file.getvalue())
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: _local(name, key, value) for key, value in element.attrib.items()}
    return root.attrib["viewBox"], "".join(ElementTree.tostring(child, encoding="unicode") for child in root)


def _local(name: str, key: str, value: str) -> str:
    """Identifiers that no other plot of the page has, and the page's colours."""
    if key == "id":
        return f"{name}-{value}"
    if key.endswith("href"):
        return value.replace("#", f"#{name}-")
    value = value.replace("url(#", f"url(#{name}-")
    value = re.sub(r"font-family: [^;]*; ", "", value)  # the page's own
    for ink, colour in INKS.items():
        value = value.replace(colour, f"var(--{ink})")
    return value
