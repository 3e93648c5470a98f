"""What each class needs to run on shards beyond its own code: mostly nothing; each exception with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.errors import ModelError, PlanError
from toolkit.geometry.shard_plan import AXES, ShardPlan
from toolkit.models.autoencoders.model_call import ModelCall
from toolkit.models.autoencoders.tiling import spatial_ratio
from toolkit.numerics.frame_masks import frame_causal_mask

Prepare = Callable[[Any], None]

REFUSED: Mapping[tuple[str, str], str] = {
    ("AutoencoderRAE", "decode"): "its decoder is a vision transformer with a fixed number of positions",
    ("AutoencoderRAE", "encode"): "its encoder resizes the image to a fixed number of positions",
    ("AutoencoderKLMiniMaxH3", "decode"): "its decoder is a vision transformer, whose positions are those of the whole",
    ("LTX2VideoDiffusionDecoderModel", "decode"): "its neighbourhood attention shifts its windows at the map's borders",
}
"""Classes that cannot be sharded by this mechanism, with the reason, by direction."""


class _NoThreshold(int):
    """A head size that every map exceeds."""

    def __lt__(self, other: object) -> bool:
        return True


def _always_linear(vae: Any) -> None:
    for module in vae.modules():
        if hasattr(module, "to_qkv_multiscale"):
            module.attention_head_dim = _NoThreshold(module.attention_head_dim)


def _masks_by_frames(vae: Any) -> None:
    for module in vae.modules():
        if hasattr(module, "prepare_causal_attention_mask"):
            module.prepare_causal_attention_mask = frame_causal_mask


PREPARE: Mapping[str, tuple[str, Prepare]] = {
    "AutoencoderKLHunyuanVideo15": (
        "its attention fills a mask of all pairs of tokens row by row in Python, of which only frames matter",
        _masks_by_frames,
    ),
    "AutoencoderDC": (
        "on few cells its attention takes the quadratic form, and would decide so by the shard's cells; "
        "the linear form is the same sum in another order",
        _always_linear,
    ),
}
"""What is set on a (borrowed) model of a class before its call, with the reason; undone with the loan."""


RECOMPUTE: Mapping[str, str | None] = {
    **dict.fromkeys(
        (
            "AutoencoderKLWan",
            "AutoencoderKLQwenImage",
            "AutoencoderKLQwenImage21",
            "AutoencoderKLHunyuanVideo15",
            "AutoencoderKLHunyuanImageRefiner",
        ),
        "up_blocks.0",
    ),
    "AutoencoderDC": None,
    "AutoencoderTiny": None,
}
"""Classes whose decoders can do without messages, and from which of the decoder's modules on: after their middle block,
which attends over the whole map, nothing does. None: from the beginning.

Others see the whole map in every layer (GroupNorm), or remember a map's shape across a convolution, which here consumes
rows (LTX, Kandinsky 6): for these, tiles with an overlap as large as the receptive field do the same."""


@dataclass(frozen=True, slots=True)
class Sharding:
    """How a model's call is cut.

    Attributes:
        name: the model's class.
        call: which of its calls.
        ratio: sample pixels per latent cell.
    """

    name: str
    call: ModelCall
    ratio: int

    def parts(self, plan: ShardPlan, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Rows of each rank's part of the input along each axis, in the input's own units.

        A sample is cut between latent cells; what is left beyond the last cell goes to the last shard.

        Raises:
            PlanError: where a shard would have fewer latent cells than it needs.
        """
        if plan.borders == "recompute" and self.call.direction == "encode":
            raise PlanError(
                "borders='recompute' is for decode: an encoder's last layers see the whole map. Use borders='exchange'."
            )
        if plan.borders == "recompute" and self.name not in RECOMPUTE:
            raise ModelError(
                f"borders='recompute' with {self.name}: it is known for {', '.join(RECOMPUTE)} only. "
                "Use borders='exchange', or exact tiles where the class has no global operation."
            )
        if len(shape) not in (4, 5):
            raise PlanError(f"input of shape {shape}: {self.name} {self.call.direction}s b c h w or b c t h w.")
        sizes = dict(zip(AXES, shape[-2:], strict=True))
        if self.call.direction == "decode":
            return plan.parts(sizes)
        cells = plan.parts({axis: size // self.ratio for axis, size in sizes.items()})
        pixels = {}
        for axis, parts in cells.items():
            scaled = [part * self.ratio for part in parts]
            scaled[-1] += sizes[axis] - sum(scaled)
            pixels[axis] = tuple(scaled)
        return pixels

    @property
    def entry(self) -> str | None:
        """The decoder's module from which on shards suffice; None: from the beginning."""
        return RECOMPUTE[self.name]

    def check(self, plan: ShardPlan, shape: tuple[int, ...]) -> dict[str, int]:
        """Refuse a plan that does not fit an input; returns the sample's ratio along each axis."""
        self.parts(plan, shape)
        return dict.fromkeys(AXES, self.ratio)

    @contextmanager
    def prepared(self, vae: Any) -> Iterator[None]:
        """Set what the class needs on a borrowed model."""
        if self.name in PREPARE:
            PREPARE[self.name][1](vae)
        yield


def sharding_of(vae: Any, call: ModelCall) -> Sharding:
    """How a model's call is sharded.

    Raises:
        ModelError: where it is known that it cannot be, with the reason.
    """
    name = type(vae).__name__
    reason = REFUSED.get((name, call.direction))
    if reason is not None:
        raise ModelError(f"{name}.{call.direction} cannot be sharded exactly: {reason}. Use the model's own call.")
    return Sharding(name, call, spatial_ratio(vae))
