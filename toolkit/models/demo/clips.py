"""Clips of a coloured shape that moves, each with the sentence that describes it: the demo pipeline's training data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Generator, Tensor

from toolkit.errors import PlanError

FRAMES = 13
SIZE = (64, 64)
"""Height and width of a clip in pixels."""

COLOURS = {
    "red": (0.80, -0.75, -0.75),
    "green": (-0.80, 0.40, -0.65),
    "blue": (-0.75, -0.40, 0.85),
    "yellow": (0.90, 0.65, -0.80),
}
"""Each colour as r g b in [-1, 1]."""

SIDES = {"ball": None, "square": 4, "triangle": 3}
"""Number of sides of each shape; a ball has none."""

MOTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Direction of each motion as y x."""

AREA = 500
"""Area of a shape in pixels."""

SPEED = 2
"""Speed of a shape in pixels per frame; the middle of its path is in the middle of the frame, or a lane beside it."""

LANES = (-8, 0, 8)
"""Distances of the lanes from the middle, in pixels: one latent cell, so that there are few different ones to learn."""

BACKGROUNDS = (-0.8, 0.75)
"""Dark and light grey."""


@dataclass(frozen=True)
class Sentence:
    """What a clip shows.

    Attributes:
        colour: One of ``COLOURS``.
        shape: One of ``SIDES``.
        motion: One of ``MOTIONS``.

    Raises:
        PlanError: If a word is not one of these.
    """

    colour: str
    shape: str
    motion: str

    def __post_init__(self) -> None:
        for name, words in (("colour", COLOURS), ("shape", SIDES), ("motion", MOTIONS)):
            if getattr(self, name) not in words:
                raise PlanError(f"{name}={getattr(self, name)!r}: must be one of {', '.join(words)}.")

    def __str__(self) -> str:
        return f"a {self.colour} {self.shape} moves {self.motion}"


KINDS = tuple(tuple(words) for words in (COLOURS, SIDES, MOTIONS))

SENTENCES = tuple(Sentence(*words) for words in itertools.product(*KINDS))

PROMPTS = tuple(map(str, SENTENCES))
"""Every prompt that the demo pipeline knows: "a red ball moves left" and so on, each colour, shape and motion."""

# The sum of the words' places, modulo 4, picks every word equally often.
HELD_OUT = tuple(
    sentence
    for sentence in SENTENCES
    if sum(kind.index(word) for kind, word in zip(KINDS, astuple(sentence), strict=True)) % 4 == 0
)
"""A quarter of the sentences, with every word as frequent as in all of them: the pipeline is not trained on these."""


def clips(sentences: Sequence[Sentence], generator: Generator) -> Tensor:
    """Draw one clip for each sentence, in a random lane and on a random background.

    Args:
        sentences: What the clips show.
        generator: Source of the random choices.

    Returns:
        The clips, ``b c t h w`` in [-1, 1].

    Example:
        >>> clips(SENTENCES[:2], torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 13, 64, 64])
    """
    return torch.stack(
        [_clip(sentence, _one_of(LANES, generator), _one_of(BACKGROUNDS, generator)) for sentence in sentences]
    )


def _clip(sentence: Sentence, lane: float, background: float) -> Tensor:
    """Draw one clip (c t h w)."""
    gone = SPEED * (torch.arange(FRAMES) - (FRAMES - 1) / 2)
    # The lane is beside the path: it shifts the axis along which the shape does not move.
    y, x = (
        extent / 2 + direction * gone + (lane if direction == 0 else 0)
        for extent, direction in zip(SIZE, MOTIONS[sentence.motion], strict=True)
    )
    colour = torch.tensor(COLOURS[sentence.colour])[:, None, None, None]
    return torch.lerp(torch.tensor(background), colour, _cover(SIDES[sentence.shape], y, x))


def _cover(sides: int | None, y: Tensor, x: Tensor) -> Tensor:
    """Compute how much of each pixel a shape covers (t h w), with its centre at ``y`` and ``x`` (t each)."""
    down = torch.arange(SIZE[0])[None, :, None] + 0.5 - y[:, None, None]
    right = torch.arange(SIZE[1])[None, None, :] + 0.5 - x[:, None, None]
    if sides is None:
        beyond = torch.hypot(down, right) - math.sqrt(AREA / math.pi)
    else:
        # A point is in a polygon if it is on the inner side of every edge: the largest distance over the edges counts.
        radius = math.sqrt(AREA / (sides * math.tan(math.pi / sides)))
        # A triangle reaches twice as far up as down: it is lowered until its box is in the middle.
        down = down - radius / 2 * (sides % 2)
        turns = [2 * math.pi * (0.25 + side / sides) for side in range(sides)]
        beyond = torch.stack([down * math.sin(turn) + right * math.cos(turn) for turn in turns]).amax(0) - radius
    # A pixel half inside is half covered, which keeps edges smooth while the shape moves.
    return (0.5 - beyond).clamp(0, 1)


def _one_of(values: Sequence[float], generator: Generator) -> float:
    return values[int(torch.randint(len(values), (), generator=generator))]
