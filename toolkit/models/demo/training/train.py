"""Train the demo models from scratch: ``python -m toolkit.models.demo.training.train PHASE``.

The phases image and image-more make the image model, video-space and video-time the video model; each phase starts from
the checkpoint of the one before. The shipped weights took about an hour and a quarter on two cores. An interrupted
phase continues from its own checkpoint; ``--steps`` then shortens or lengthens its schedule.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLWan
from einops import rearrange
from torch import Tensor, nn

from toolkit.models.demo.checkpoints import WEIGHTS, save
from toolkit.models.demo.photographs import HELD_OUT, image
from toolkit.models.demo.training.descent import descend, rate_at
from toolkit.models.demo.training.flat import flat
from toolkit.models.demo.training.start import start
from toolkit.models.demo.training.train_data import Photographs
from toolkit.models.demo.videos import VIDEOS, video

Model: TypeAlias = AutoencoderKL | AutoencoderKLWan


@dataclass(frozen=True)
class Phase:
    """One phase of training.

    Attributes:
        model: The function that makes the untrained model.
        weights: Folder of the weights under ``weights/``.
        frames: Frames of a clip; None for pictures without time.
        batch: Clips or pictures per step.
        side: Height and width of the clips or pictures.
        steps: Number of steps, unless the command line says otherwise.
        rate: Largest learning rate.
        after: The phase whose checkpoint this one starts from.
    """

    model: Callable[[], Model]
    weights: str
    frames: int | None
    batch: int
    side: int
    steps: int
    rate: float
    after: str | None = None


def new_image_vae() -> AutoencoderKL:
    """Make an untrained image model: GroupNorm and attention in the middle, as its large relatives have them."""
    levels = (24, 48, 64, 64)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(levels),
        up_block_types=("UpDecoderBlock2D",) * len(levels),
        block_out_channels=levels,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=16,
        sample_size=256,
    )
    return quiet(vae.to(memory_format=torch.channels_last))


def new_video_vae() -> AutoencoderKLWan:
    """Make an untrained video model in the form of Wan 2.1, with a sixth of its width."""
    vae = AutoencoderKLWan(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1)
    start(vae)
    return quiet(vae)


def quiet(vae: Model) -> Model:
    """Start the posterior with little noise, so that there is a picture to learn from at once."""
    # The second half of the channels are logarithms of variances: exp(-6) is a standard deviation of 0.05.
    half = vae.quant_conv.out_channels // 2
    nn.init.zeros_(vae.quant_conv.weight[half:])
    nn.init.constant_(vae.quant_conv.bias[half:], -6.0)
    return vae


PHASES = {
    "image": Phase(new_image_vae, "image_vae", None, batch=8, side=96, steps=1800, rate=1.5e-3),
    "image-more": Phase(new_image_vae, "image_vae", None, batch=8, side=64, steps=1500, rate=1e-3, after="image"),
    "video-space": Phase(new_video_vae, "video_vae", 1, batch=8, side=64, steps=6000, rate=1.5e-3),
    "video-time": Phase(new_video_vae, "video_vae", 9, batch=3, side=80, steps=480, rate=7e-4, after="video-space"),
}


def loss_of(vae: Model, sample: Tensor) -> Tensor:
    """Compute the reconstruction error through a drawn latent, with a light pull of the posterior to N(0, 1).

    Args:
        vae: The model that learns.
        sample: Pictures or clips.
    """
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(sample).latent_dist
        seen = vae.decode(posterior.sample()).sample.float()
    divergence = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
    # Absolute errors keep edges, squared ones keep areas; the pull only keeps latents from growing.
    return F.l1_loss(seen, sample) + 4 * F.mse_loss(seen, sample) + 1e-5 * divergence


@torch.no_grad()
def held_out_psnr(vae: Model, phase: Phase) -> dict[str, float]:
    """Measure the PSNR in dB of the reconstruction of each picture or video that is not trained on."""
    if phase.frames is None:
        samples = {name: image(name, (256, 256)) for name in HELD_OUT}
    elif phase.frames == 1:
        samples = {name: rearrange(image(name, (256, 256)), "b c h w -> b c 1 h w") for name in HELD_OUT}
    else:
        samples = {name: video(name, 9, (128, 128)) for name in VIDEOS}
    scores = {}
    for name, sample in samples.items():
        seen = vae.decode(vae.encode(sample).latent_dist.mode()).sample.clamp(-1, 1)
        # The range from -1 to 1 has a peak of 2, squared 4.
        scores[name] = 10 * math.log10(4 / F.mse_loss(seen, sample).item())
    return scores


@torch.no_grad()
def note_statistics(vae: Model, sample: Tensor) -> None:
    """Write into the config how a diffusion model would scale the latents, measured on a sample."""
    latents = rearrange(vae.encode(sample).latent_dist.mode(), "b c ... -> c (b ...)")
    if isinstance(vae, AutoencoderKL):
        vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 4))
    else:
        mean, std = ([round(value, 4) for value in row.tolist()] for row in (latents.mean(1), latents.std(1)))
        vae.register_to_config(latents_mean=mean, latents_std=std)


class Training:
    """A model, its slow average and its optimizer, with a checkpoint file.

    It continues from its own checkpoint, else from that of the phase before, else from the start.

    Args:
        name: The name of the phase.
        folder: Where checkpoints are kept.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.phase = PHASES[name]
        self.file = folder / f"{name}.pt"
        self.vae = self.phase.model()
        self.average = copy.deepcopy(self.vae).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.vae.parameters(), betas=(0.9, 0.99), weight_decay=1e-4)
        self.step = 0
        if self.file.exists():
            kept = torch.load(self.file)
            self.step = kept["step"]
            self.vae.load_state_dict(kept["vae"])
            self.average.load_state_dict(kept["average"])
            self.optimizer.load_state_dict(kept["optimizer"])
        elif self.phase.after:
            # The average of the phase before, which is its result, not its last and noisier weights.
            kept = torch.load(folder / f"{self.phase.after}.pt")
            self.vae.load_state_dict(kept["average"])
            self.average.load_state_dict(kept["average"])

    def keep(self) -> None:
        """Write the checkpoint, whole or not at all."""
        states = {name: getattr(self, name).state_dict() for name in ("vae", "average", "optimizer")}
        partial = self.file.with_suffix(".partial")
        torch.save({"step": self.step, **states}, partial)
        os.replace(partial, self.file)

    def advance(self, sample: Tensor, steps: int) -> float:
        """Take one step of a schedule of ``steps`` on one batch, and return its loss."""
        loss = loss_of(self.vae, sample)
        rate = self.phase.rate * rate_at(self.step, steps)
        lost = descend(self.optimizer, self.vae, average=self.average, loss=loss, rate=rate, step=self.step)
        self.step += 1
        return lost


def batch(photographs: Photographs, phase: Phase, *, step: int) -> Tensor:
    """Draw the batch of a step; it is the same whenever it is asked for."""
    generator = torch.Generator().manual_seed(step)
    if phase.frames is None:
        return photographs.crops(phase.batch, phase.side, generator=generator).contiguous(
            memory_format=torch.channels_last
        )
    if phase.frames == 1:
        return rearrange(photographs.crops(phase.batch, phase.side, generator=generator), "b c h w -> b c 1 h w")
    return photographs.clips(phase.batch, phase.frames, side=phase.side, generator=generator)


def report(training: Training, losses: list[float], *, seconds: float) -> None:
    """Print where the training is and what its average can do."""
    scores = held_out_psnr(training.average, training.phase)
    print(
        f"step {training.step}  loss {sum(losses) / len(losses):.4f}  {seconds:.0f} s ",
        *(f"{name} {score:.2f} dB" for name, score in scores.items()),
        flush=True,
    )


def train(name: str, folder: Path, *, steps: int, every: int) -> None:
    """Run a phase to its end.

    Args:
        name: The name of the phase.
        folder: Where checkpoints are kept.
        steps: Length of the schedule.
        every: Steps between checkpoints, each with a score and weights to ship.
    """
    training = Training(name, folder)
    phase = training.phase
    photographs = Photographs(smallest=phase.side + 32)
    started, losses = time.monotonic(), []
    # Single frames are learnt by 2D convolutions, which cost much less.
    with flat(training.vae) if phase.frames == 1 else nullcontext():
        while training.step < steps:
            sample = batch(photographs, phase, step=training.step)
            losses.append(training.advance(sample, steps))
            if training.step % every == 0 or training.step == steps:
                training.keep()
                note_statistics(training.average, batch(photographs, replace(phase, batch=32), step=0))
                save(training.average, WEIGHTS / phase.weights)
                report(training, losses, seconds=time.monotonic() - started)
                losses = []


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("--folder", type=Path, default=Path("demo_train"), help="where checkpoints are kept")
    parser.add_argument("--steps", type=int, help="length of the schedule, counted from the phase's first step")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train(
        arguments.phase, arguments.folder, steps=arguments.steps or PHASES[arguments.phase].steps, every=arguments.every
    )


if __name__ == "__main__":
    main()
