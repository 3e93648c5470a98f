"""What crosses the borders between shards, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from toolkit.errors import ToolkitError
from toolkit.geometry.counting import counted
from toolkit.geometry.plan import PlanKind
from toolkit.plot.bars import filled, lying_bars
from toolkit.plot.figure import ABOVE, Figure, make
from toolkit.plot.theme import BLUE, BROWN, GREEN, ORANGE, PINK, SKY, VERMILION, YELLOW, ThemeName, byte_unit
from toolkit.plot.wanted import check_run
from toolkit.runs.run import Run
from toolkit.runs.trace import Kind

STYLES = {
    "halo h": (BLUE, ""),
    "halo w": (SKY, "/"),
    "keys and values": (VERMILION, "\\"),
    "keys": (PINK, "x"),
    "statistics": (YELLOW, "."),
    "sum": (GREEN, "-"),
    "result": (ORANGE, "|"),
}
"""Colour and pattern of each kind of message, in the order of the legend."""

MOST_ROWS = 60
"""Most bars in one figure; if more modules send, they are grouped by the blocks that contain them."""

MOVING = [Kind.SEND.value, Kind.RECEIVE.value]
KEYS = ["purpose", "module"]
KINDS = {"shard": "result"}
"""Purposes of messages that the figure names differently."""


def halos(run: Run | pd.DataFrame, *, theme: ThemeName = "neutral") -> Figure:
    """Draw what crosses the borders between shards: one bar per module, in the order of their first messages.

    The length of a bar is the number of bytes that all ranks together send for that module, with a colour and pattern
    per kind of message: rows along borders (halos), statistics of normalisations, keys and values of attention, sums,
    and the result. If more than 60 modules send, they are grouped into blocks: their names are cut to the longest
    prefix that leaves at most 60 bars.

    Args:
        run: A run in shards, or its trace.
        theme: ``"neutral"`` is readable on light and dark pages.

    Raises:
        ToolkitError: If no messages between shards were sent, as in a run on one rank or in tiles.

    Example:
        >>> trace = pd.DataFrame(
        ...     {"rank": [0, 1, 1], "kind": "send", "start": [0.0, 0.0, 0.5], "end": [0.1, 0.1, 0.6],
        ...      "bytes": [4000, 4000, 24000], "purpose": ["halo h", "halo h", "shard"], "module": ["conv", "conv", ""]}
        ... )
        >>> halos(trace).describe()
        '32 kB in 3 messages from 2 ranks: result 24 kB (75 %), halo h 8 kB (25 %).'
    """
    check_run(run, trace=True)
    messages = _messages(run)
    depth = _depth(messages["module"])
    messages["row"] = [_cut(module, depth) for module in messages["module"]]
    rows = list(dict.fromkeys(messages["row"]))
    shared = _shared(rows)
    totals = messages.groupby("row")["bytes"].sum()
    unit = byte_unit(float(totals.max()))
    labels = [f"{_short(row, shared)}  {_size(totals[row])}" for row in rows]
    modules = set(messages["module"]) - {""}
    grouped = depth is not None
    title = f"What crosses the borders: {_size(totals.sum())} in {_sent(messages)} from all ranks"
    layout = {
        "barmode": "overlay",
        "xaxis": {"title": {"text": f"sent by all ranks together ({unit.name})"}, "rangemode": "tozero"},
        "yaxis": {
            "title": {"text": _axis_name(shared, depth), "standoff": 12},
            "tickvals": list(range(len(rows))),
            "ticktext": labels,
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
            "tickfont": {"size": 11},
        },
        # The legend goes above the bars, which need the width; it takes two lines at most.
        "showlegend": True,
        "legend": ABOVE,
        "margin": {"l": 44 + round(6.2 * max(map(len, labels))), "r": 24, "t": 88, "b": 52},
    }
    return make(
        _bars(messages, rows, scale=unit.scale),
        layout,
        title=f"{title}, {len(modules)} modules by block" if grouped else title,
        description=_describe(messages),
        height=max(len(rows) * 17, 150) + 142,
        theme=theme,
        table=_table(messages),
    )


def _messages(run: Run | pd.DataFrame) -> pd.DataFrame:
    """One row per kind and module, in the order of first sends: messages, bytes, seconds spent moving and waiting."""
    trace = (run.trace if isinstance(run, Run) else run).sort_values("start", kind="stable")
    if not set(KEYS) <= set(trace.columns):
        raise ToolkitError(
            "the trace does not say what messages are for (columns purpose and module), so an older version recorded "
            "it: run it again."
        )
    trace = trace.assign(seconds=trace["end"] - trace["start"])
    sends = trace[trace["kind"] == Kind.SEND.value]
    table = pd.DataFrame(sends.groupby(KEYS, sort=False)["bytes"].agg(count="size", bytes="sum"))
    purposes = {KINDS.get(purpose, purpose) for purpose in table.index.get_level_values("purpose")}
    if not purposes & set(STYLES) or (isinstance(run, Run) and run.way.kind is not PlanKind.SHARDS):
        raise ToolkitError(_refusal(run))
    for column, kinds in (("moving", MOVING), ("waiting", [Kind.WAIT.value])):
        spent = trace[trace["kind"].isin(kinds)].groupby(KEYS)["seconds"].sum()
        table[column] = spent.reindex(table.index, fill_value=0.0)
    table.attrs["ranks"] = trace["rank"].nunique()
    table = table.reset_index()
    return table.assign(what=table["purpose"].replace(KINDS))


def _refusal(run: Run | pd.DataFrame) -> str:
    how = f"the run of {run.way.summary}" if isinstance(run, Run) else "the trace"
    return (
        f"{how} contains no messages between shards: give a run with a ShardPlan for two ranks or more, or draw "
        "messages between tiles with tk.plot.timeline."
    )


def _depth(modules: pd.Series[str]) -> int | None:
    """How many leading parts of the modules' names to keep for at most ``MOST_ROWS`` rows; None if whole names fit."""
    if modules.nunique() <= MOST_ROWS:
        return None
    longest = max(name.count(".") for name in modules)
    fits = (d for d in range(longest, 0, -1) if len({_cut(name, d) for name in modules}) <= MOST_ROWS)
    return next(fits, 1)


def _cut(module: str, depth: int | None) -> str:
    return ".".join(module.split(".")[:depth])


def _shared(rows: list[str]) -> str:
    """The leading parts that the names of all modules share; the last part of a name never counts.

    Example:
        >>> _shared(["decoder.conv_in", "decoder.up.0", ""]), _shared(["conv", ""])
        ('decoder', '')
    """
    names = [row.split(".")[:-1] for row in rows if row]
    count = 0
    while names and all(len(parts) > count and parts[count] == names[0][count] for parts in names):
        count += 1
    return ".".join(names[0][:count]) if names else ""


def _short(row: str, shared: str) -> str:
    return row.removeprefix(f"{shared}.") or "the result"


def _axis_name(shared: str, depth: int | None) -> str:
    what = "module" if depth is None else "block"
    return f"{what} of {shared}, in order of first message" if shared else f"{what}, in order of first message"


def _bars(messages: pd.DataFrame, rows: list[str], *, scale: float) -> Iterator[dict[str, Any]]:
    """One trace per kind; each bar begins where the row's previous kind ended."""
    filled_to = dict.fromkeys(rows, 0.0)
    kinds = [*STYLES, *sorted(set(messages["what"]) - set(STYLES))]
    for kind in kinds:
        found = messages[messages["what"] == kind]
        groups = [(rows.index(row), row, group) for row, group in found.groupby("row", sort=False)]
        if not groups:
            continue
        lengths = [float(group["bytes"].sum()) * scale for *_, group in groups]
        colour, pattern = STYLES.get(kind, (BROWN, "+"))
        places, starts = [place for place, *_ in groups], [filled_to[row] for _, row, _ in groups]
        yield lying_bars(kind, places, starts=starts, lengths=lengths, width=0.76) | {
            "marker": filled(colour, pattern),
            "hovertext": [_hover(row, kind, group=group) for _, row, group in groups],
            "hovertemplate": "%{hovertext}<extra></extra>",
        }
        for (_, row, _), length in zip(groups, lengths, strict=True):
            filled_to[row] += length


def _hover(row: str, kind: str, *, group: pd.DataFrame) -> str:
    inside = "" if len(group) == 1 or not row else f" ({len(group)} modules)"
    return (
        f"<b>{row or 'the result'}</b>{inside}<br>{kind}: {_size(group['bytes'].sum())} in {_sent(group)}"
        f"<br>{group['moving'].sum() * 1e3:.3g} ms sending and receiving, {group['waiting'].sum() * 1e3:.3g} "
        "ms waiting,<br>summed over ranks"
    )


def _table(messages: pd.DataFrame) -> pd.DataFrame:
    named = messages[["module", "what", "count", "bytes", "moving", "waiting"]]
    return named.rename(columns={"count": "messages", "moving": "moving (s)", "waiting": "waiting (s)"})


def _describe(messages: pd.DataFrame) -> str:
    total = messages["bytes"].sum()
    by_kind = messages.groupby("what", sort=False)["bytes"].sum().sort_values(ascending=False, kind="stable")
    parts = ", ".join(f"{kind} {_size(count)} ({_percent(count / total)})" for kind, count in by_kind.items())
    return f"{_size(total)} in {_sent(messages)} from {counted(messages.attrs['ranks'], 'rank')}: {parts}."


def _sent(messages: pd.DataFrame) -> str:
    return counted(int(messages["count"].sum()), "message")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def _size(count: float) -> str:
    if count < 1000:
        return f"{count:.0f} B"
    unit = byte_unit(count)
    return f"{count * unit.scale:.3g} {unit.name}"
