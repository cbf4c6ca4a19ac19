"""What a run of `zkmarket demo` came to: one terminal screen, and a page that needs nothing but itself.

Both say the same things from the same result. Nothing of the result is trusted to be harmless text: names and reasons
come from other people, so control characters are replaced here, and markup is escaped by the page's template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ArtifactError
from ...files import atomic_write
from ...page import Replay, csp, script, style
from .plots import Bar, Plot, bars, lines
from .words import (
    FATES,
    MONEY,
    SERIES,
    TOTAL,
    amount,
    attackers_pay,
    checked,
    count,
    headline,
    known,
    pay_by_kind,
    percent,
    played,
    row,
    share_of,
    shortened,
    verdict,
    warnings,
)

VERIFY = "zkmarket auditor verify ROUND --state DIR --rpc URL --store WHERE --project"
TEMPLATE = "report.html.jinja"


def write_report(result: Mapping[str, Any], path: Path, replay: Replay | None = None) -> None:
    """The page as one file that a browser shows without any other, from a disk or from a server."""
    atomic_write(Path(path), page(result, replay).encode())


def check_libraries() -> None:
    """ArtifactError if what the page is made with is not installed: to be asked before a market is played."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401 (the plots import what they use of it)
    except ImportError as error:
        raise ArtifactError("the report needs Jinja2 and matplotlib: pip install 'zkmarket[demo]'") from error


def page(result: Mapping[str, Any], replay: Replay | None = None) -> str:
    """The report as HTML; with a replay in it where one is given."""
    check_libraries()
    import jinja2
    from markupsafe import Markup

    result = checked(result)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    embedded: dict[str, Any] = {"script": ""}
    if replay is not None:
        text = script()
        embedded = {
            "script": Markup(text),
            "script_policy": Markup(csp(text)),
            "replay_known": Markup(replay.known_json()),
            "replay_recording": replay.packed_recording(),
        }
    environment.filters |= {"amount": amount, "count": count, "percent": percent}
    return environment.get_template(TEMPLATE).render(
        **embedded,
        style=Markup(style()),
        result=result,
        earned=attackers_pay(result) > 0,
        verdict=verdict(result),
        played=played(result),
        warnings=warnings(result),
        plots=[(plot, Markup(plot.body)) for plot in _plots(result)],
        numbers=headline(result),
        trainers=[row(trainer, result) for trainer in result["trainers"]],
        pay_by_kind=pay_by_kind(result),
        symbols=FATES,
        series={key: label for key, label in SERIES.items() if known(result, key)},
        money={MONEY.get(key, key): wei for key, wei in result["money"].items()},
        addresses=_addresses(result),
        commands=result.get("commands", []),
        verify=f"{VERIFY} {result['addresses'].get('project', 'ADDRESS')}",
    )


def _addresses(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Every address by what it is, the verifiers' last."""
    given = dict(result["addresses"])
    verifiers = given.pop("verifiers", {})
    return [*given.items(), *((f"verifier: {name}", address) for name, address in verifiers.items())]


# ---------------------------------------------------------------- plots


def _plots(result: Mapping[str, Any]) -> list[Plot]:
    """Those for which the result has something to show."""
    out = [_accuracy_plot(result)] if result["rounds"] else []
    if result["trainers"]:
        out.append(_pay_plot(result))
    kinds: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("gas", "Gas by step", count),
        ("seconds", "Seconds by step", "{:,.1f}".format),
    )
    for name, title, form in kinds:
        steps: Mapping[str, float] = {step: value for step, value in result[name].items() if step != TOTAL}
        if TOTAL in result[name]:
            title += f", {form(result[name][TOTAL])} in all"
        if steps:
            alt = _alt(f"{title}, as bars", {step: form(value) for step, value in steps.items()})
            out.append(bars(name, title, alt, [Bar(step, float(value), form(value)) for step, value in steps.items()]))
    return out


def _accuracy_plot(result: Mapping[str, Any]) -> Plot:
    start, rounds = share_of(result["accuracy_at_start"]), result["rounds"]
    series = {
        label: [start, *(share_of(row.get(key)) for row in rounds)]
        for key, label in SERIES.items()
        if known(result, key)
    }
    xs = [0, *(row["round"] for row in rounds)]
    words = {label: ", ".join(percent(y) for y in ys) for label, ys in series.items()}
    return lines(
        "accuracy", "Test accuracy by round", _alt("Test accuracy before and after each round", words), xs, series
    )


def _pay_plot(result: Mapping[str, Any]) -> Plot:
    rows = []
    for trainer in result["trainers"]:
        attacker = not trainer["honest"]
        label = f"{shortened(trainer['name'], 11)} (attacker)" if attacker else trainer["name"]
        rows.append(Bar(label, float(trainer["paid_wei"]), amount(trainer["paid_wei"], 4), attacker))
    alt = _alt("Paid to each trainer, as bars; those of attackers are hatched", {row.label: row.text for row in rows})
    return bars("paid", "Paid by trainer", alt, rows, ("honest", "attacker"))


def _alt(what: str, values: Mapping[str, str]) -> str:
    return f"{what}. " + "; ".join(f"{label}: {text}" for label, text in values.items()) + "."
