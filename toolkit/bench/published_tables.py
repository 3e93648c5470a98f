"""Published tables beside rehearsals: what others measured on devices that we do not have.

Nothing was measured on those devices. So at most two points of each figure, marked ``fitted``, stand in for a profile,
and what counts is how far off the others are:

    table           fitted                                                              off on the others, at most
    halo exchange   the device's speed (1 device), a message's latency (8 devices)      time 3.3 %
                    one factor of memory (1 and 8)                                      memory 4.8 %
    stages          time of the steps and around them (1 and 2)                         time 0.4 %
                    memory around the steps (1)                                         memory 1.2 %
    tiles           the device's speed (1)                                              time 15 %

Assumed everywhere: links of 150 GB/s, and a device that does 20 operations (fp32) or 150 (bf16) in the time in which it
moves a byte. Links of 20 GB/s, or half or twice the operations, move no point by more than 0.5 %.

**Halo exchange.** A published halo-exchange decoder: the Wan 2.1 VAE, 81 frames of 720 x 1280, in parts along the
height. It is in fp32, by its memory: tensors take 18.9 GB on one device, and 9.8 GB in bf16. What is missing:

* No link has a latency of 6 ms: it stands for all that the decoder does around a message. It was chosen among six such
  figures: the others (a fixed time, the host's time for operators or messages, bandwidth) miss by 5 to 9 %. On 4
  devices it fits as well as on 8; fitted on 2, it is 5 ms, and 4 and 8 devices come out 5 % and 11 % too fast.
* Published memory falls as the rows of the largest shard do. So it has no weights in it, and none are counted here.
  Rehearsed shards need 8 % more, because they keep a convolution's input beside its copy with borders. One factor for
  what kernels and the allocator add, 1.19, is a compromise between 1.24 (one device) and 1.14 (four and eight).

Frames from the third on are alike. Three are rehearsed, and the others take what the third adds. With all 21, times
differ by 0.04 % and peaks by 0.2 %.

**Stages.** A published pipeline-parallel run of Wan 2.2, both guidance branches on their way at once. One step of the
unmodified pipeline is rehearsed; on one device one branch, which counts twice. The sizes of the videos are assumed (5B:
121 frames of 704 x 1280; A14B: 81 of 480 x 832); others move time by 0.1 % and memory by 1 %. A14B's two transformers
are alike: one is rehearsed, its weights count twice. GB are 2^30 bytes: only so do they fall by the counted weights.

**Tiles.** A published tile-parallel decoder: the HunyuanVideo-1.5 VAE in its own tiles, the largest dealt out first;
121 frames of 720 x 1280 are assumed. Rehearsed, 4 devices are 3.82 times as fast as one; published, 3.24. So 0.75 s
seem to be missing that are not divided. Its code merges all tiles on one device, row by row, in 20,211 calls of the
host: 0.2 s of them, at 10 us each, and 0.02 s are the bytes. Neither the size of its video nor its devices are known
here, and with one point left, nothing more can be fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from toolkit.geometry import Assignment, Blend, Link, Schedule, ShardPlan, StagePlan, StageSplit, TilePlan, Topology
from toolkit.models import demo
from toolkit.models.autoencoders.full_size import SUBJECTS
from toolkit.models.autoencoders.tiling import diffusers_grid
from toolkit.models.diffusers_compat import model_named
from toolkit.planning.rehearsing.profile import Profile
from toolkit.planning.rehearsing.rehearsal import Rehearsal
from toolkit.planning.rehearsing.rehearse import rehearse

Points = Mapping[int, float]
"""A figure for each number of devices."""

HALO_SECONDS: Points = {1: 16.85, 2: 9.69, 4: 6.13, 8: 4.71}
HALO_GB: Points = {1: 23.4, 2: 11.79, 4: 5.9, 8: 3.1}
STAGE_SECONDS: Mapping[str, Points] = {"TI2V-5B": {1: 46.3, 2: 37.9, 4: 34.1}, "A14B": {1: 208.9, 2: 171.3, 4: 152.5}}
STAGE_GB: Mapping[str, Points] = {"TI2V-5B": {1: 52.0, 2: 47.4, 4: 44.9}, "A14B": {1: 76.6, 2: 50.3, 4: 37.2}}
TILE_SECONDS: Points = {1: 11.79, 4: 3.64}

BANDWIDTH = 150e9
WIDE, NARROW = (67e12, 3.35e12), (400e12, 2.7e12)
"""Operations and bytes per second of a device whose speed is not fitted yet, in fp32 and in bf16."""
META, SUBJECT = torch.device("meta"), {one.name: one for one in SUBJECTS}
FRAMES = 21
"""Latent frames that the halo-exchange decoder decodes."""


def table(what: str, published: Points, rehearsed: Points, fitted: Sequence[int]) -> pd.DataFrame:
    """One figure: what was published and what is rehearsed on each number of devices, and the relative error.

    Example:
        >>> table("seconds", {1: 10.0, 2: 5.0}, {1: 10.0, 2: 6.0}, fitted=[1]).values.tolist()
        [['seconds', 1, 10.0, 10.0, 0.0, True], ['seconds', 2, 5.0, 6.0, 0.2, False]]
    """
    rows = [(what, n, one, rehearsed[n], round(rehearsed[n] / one - 1, 4), n in fitted) for n, one in published.items()]
    return pd.DataFrame(rows, columns=["what", "devices", "published", "rehearsed", "off", "fitted"])


def worst(rows: pd.DataFrame) -> dict[str, float]:
    """The largest error of each figure on the points that were not fitted."""
    others = rows[~rows["fitted"]]
    return {what: max(others["off"][others["what"] == what], key=abs) for what in others["what"].unique()}


@dataclass(frozen=True, slots=True)
class Shards:
    """The halo-exchange decoder on some devices, rehearsed with two and with three latent frames."""

    two: Rehearsal
    three: Rehearsal

    @classmethod
    def over(cls, devices: int) -> Shards:
        """Rehearse it, without times."""
        vae = SUBJECT["Wan 2.1"].build(META, torch.float32)
        plan = ShardPlan(h=devices) if devices > 1 else None
        return cls(*(rehearse(vae, (1, 16, frames, 90, 160), plan, device="cuda") for frames in (2, 3)))

    def played(self, speed: float, latency: float = 0.0) -> Shards:
        """The same on devices of that speed, over links of that latency."""
        operations, bandwidth = (speed * one for one in WIDE)
        profile = Profile.assume(operations=operations, bandwidth=bandwidth, device="cuda")
        links = Topology(1, self.three.way.ranks, within=Link(BANDWIDTH, latency))
        return Shards(*(one.with_profile(profile, links) for one in (self.two, self.three)))

    @property
    def seconds(self) -> float:
        """Time of all frames."""
        return self.three.seconds + (FRAMES - 3) * (self.three.seconds - self.two.seconds)

    @property
    def peak(self) -> float:
        """GB of tensors on the fullest rank: with three frames, and its rows of what further frames come out as."""
        frame = 4 * 4 * prod(self.three.shape) / self.three.shape[2]
        rows = -(-90 // self.three.way.ranks) / 90
        return (float(self.three.peaks.max()) + (FRAMES - 3) * frame * rows) / 1e9


def halo_exchange_table() -> pd.DataFrame:
    """The decoder in shards along the height; it takes half a minute."""
    shards = {n: Shards.over(n) for n in HALO_SECONDS}
    speed = shards[1].played(1.0).seconds / HALO_SECONDS[1]
    latency = _root(lambda one: shards[8].played(speed, one).seconds - HALO_SECONDS[8], 5e-3, 7e-3)
    played = {n: one.played(speed, latency) for n, one in shards.items()}
    factor = sqrt(HALO_GB[1] / played[1].peak * HALO_GB[8] / played[8].peak)
    seconds = {n: one.seconds for n, one in played.items()}
    memory = {n: factor * one.peak for n, one in played.items()}
    return pd.concat([table("seconds", HALO_SECONDS, seconds, [1, 8]), table("GB", HALO_GB, memory, [1, 8])])


def _root(function: Callable[[float], float], one: float, other: float) -> float:
    """Where a nearly straight function is zero, to 1 ms, by secants."""
    at, to = function(one), function(other)
    while abs(to) > 1e-3:
        one, at, other = other, to, other - to * (other - one) / (to - at)
        to = function(other)
    return other


@dataclass(frozen=True, slots=True)
class Transformer:
    """A transformer at real size, and the latent that it denoises.

    Attributes:
        layers: Number of layers.
        config: The arguments of its constructor that differ from the class's own.
        latent: Frames, height and width of the latent.
        each: Whether every token has a timestep of its own.
        experts: Number of transformers like it in the pipeline.
    """

    layers: int
    config: Mapping[str, int]
    latent: tuple[int, int, int]
    each: bool = False
    experts: int = 1

    def pipeline(self) -> Any:
        """The demo pipeline, with this transformer in place of its own."""
        with META:
            made = model_named("WanTransformer3DModel")(num_layers=self.layers, **self.config)
            # Not the model's own ``to``, which warns of the few modules that it would rather have in fp32.
            nn.Module.to(made, torch.bfloat16)
        pipe = demo.pipeline()
        pipe.register_modules(transformer=made)
        pipe.register_to_config(expand_timesteps=self.each)
        return pipe

    def step(self, pipe: Any, plan: StagePlan) -> Rehearsal:
        """One step in stages; on one device, one branch of it."""
        (frames, height, width), prompt = self.latent, torch.zeros(1, 512, 4096, dtype=torch.bfloat16)
        alone, links = plan.ranks == 1, Topology(1, plan.ranks, within=Link(BANDWIDTH))
        profile = Profile.assume(operations=NARROW[0], bandwidth=NARROW[1])
        # Latents of the demo pipeline have a cell for 4 frames of 8 x 8 pixels.
        return rehearse(
            pipe, plan=None if alone else plan, profile=profile, topology=links, num_inference_steps=1,
            num_frames=4 * frames - 3, height=8 * height, width=8 * width, guidance_scale=1.0 if alone else 5.0,
            prompt_embeds=prompt, negative_prompt_embeds=prompt, output_type="latent",
        )  # fmt: skip


_5B = {"num_attention_heads": 24, "ffn_dim": 14336, "in_channels": 48, "out_channels": 48}
TRANSFORMERS: Mapping[str, Transformer] = {
    "TI2V-5B": Transformer(30, _5B, latent=(31, 44, 80), each=True),
    "A14B": Transformer(40, {"num_attention_heads": 40, "ffn_dim": 13824}, latent=(21, 60, 104), experts=2),
}


def stages_table(names: Sequence[str] = tuple(TRANSFORMERS)) -> pd.DataFrame:
    """Pipelines in stages; each takes 12 seconds."""
    return pd.concat([_stages(name) for name in names])


def _stages(name: str) -> pd.DataFrame:
    subject, seconds, memory = TRANSFORMERS[name], STAGE_SECONDS[name], STAGE_GB[name]
    pipe, step, held = subject.pipeline(), dict[int, float](), dict[int, float]()
    for n in seconds:
        plan = StagePlan(StageSplit.even(subject.layers, n), Schedule.interleaved(n, branches=2))
        one = subject.step(pipe, plan)
        step[n] = one.seconds * (2 if n == 1 else 1)
        held[n] = (subject.experts * _weights(pipe.transformer, plan) + float(one.peaks[0])) / 2**30
    steps = (seconds[1] - seconds[2]) / (step[1] - step[2])
    time = {n: seconds[1] + steps * (step[n] - step[1]) for n in step}
    space = {n: memory[1] + held[n] - held[1] for n in held}
    return pd.concat([table(f"{name} seconds", seconds, time, [1, 2]), table(f"{name} GB", memory, space, [1])])


def _weights(transformer: Any, plan: StagePlan) -> int:
    """Bytes of weights on rank 0: its own layers, and all that lies around layers."""
    (own,) = plan.layers_of(0)
    others = transformer.blocks[own.stop :].parameters()
    return sum(one.nbytes for one in transformer.parameters()) - sum(one.nbytes for one in others)


def tiles_table() -> pd.DataFrame:
    """The decoder in the class's own tiles; it takes 5 seconds.

    Example:
        >>> {what: round(off, 3) for what, off in worst(tiles_table()).items()}  # on 4 devices
        {'seconds': -0.152}
    """
    vae, shape = SUBJECT["HunyuanVideo-1.5"].build(META), (1, 32, 31, 45, 80)
    for module in vae.modules():
        if hasattr(module, "prepare_causal_attention_mask"):
            # The class fills its mask row by row: 7,936 operators for a tile, which take minutes to rehearse.
            module.prepare_causal_attention_mask = _causal_mask
    grid, profile = diffusers_grid(vae, shape), Profile.assume(operations=NARROW[0], bandwidth=NARROW[1])

    def seconds(devices: int) -> float:
        plan, links = TilePlan(grid, Blend.diffusers(), Assignment.balanced(grid, devices)), Link(BANDWIDTH)
        return rehearse(vae, shape, plan, profile=profile, topology=Topology(1, devices, within=links)).seconds

    unit = TILE_SECONDS[1] / seconds(1)
    return table("seconds", TILE_SECONDS, {1: TILE_SECONDS[1], 4: unit * seconds(4)}, [1])


def _causal_mask(n_frame: int, n_hw: int, dtype: Any, device: Any, batch_size: int = 1) -> Tensor:
    """The mask of HunyuanVideo 1.5's attention, made at once: a token sees its own frame and those before."""
    frame = torch.arange(n_frame * n_hw, device=device) // n_hw
    mask = torch.zeros(len(frame), len(frame), dtype=dtype, device=device)
    return mask.masked_fill(frame[:, None] < frame, float("-inf")).expand(batch_size, -1, -1)
