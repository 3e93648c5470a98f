"""How each state of a tile, shard or stage looks: a colour, and a sign for readers who cannot tell colours apart."""

from __future__ import annotations

from toolkit.analysis.part_states import SHOWN, State
from toolkit.plot.theme import BLUE, GREEN, ORANGE, SKY

WAITING_GREY = "#B9C0C8"
"""A grey that shows on white and on black."""

COLOURS = {
    State.NONE: "rgba(0,0,0,0)",
    State.DONE: GREEN,
    State.WAITING: WAITING_GREY,
    State.HELD: SKY,
    State.TRAVELLING: ORANGE,
    State.COMPUTING: BLUE,
}
"""The colour of each state, in ascending order of its number."""

SIGNS = {
    State.NONE: "",
    State.DONE: "✓",
    State.WAITING: "·",
    State.HELD: "■",
    State.TRAVELLING: "→",
    State.COMPUTING: "▶",
}
"""The sign of each state, which is printed wherever there is room for it."""


def in_words(counts: dict[State, int]) -> str:
    """How many parts are in each state; states without parts are left out.

    Example:
        >>> in_words({State.COMPUTING: 2, State.HELD: 0, State.DONE: 6})
        '2 computing, 6 done'
    """
    return ", ".join(f"{counts[state]} {state.name.lower()}" for state in SHOWN if counts.get(state))
