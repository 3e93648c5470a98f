"""Train the demo pipeline from scratch: ``python -m toolkit.models.demo.training.train_pipeline``.

The transformer and the text encoder learn together, by flow matching, on the latents of ``clips.py`` as the demo's
video model encodes them; that model is not trained further. It takes about half an hour on one core. The pipeline
learns colours first, then where things are and move, and outlines last: balls and squares are still confused. An
interrupted training continues from its checkpoint; ``--steps`` then shortens or lengthens its schedule. For the shipped
weights, 1500 steps of a schedule of 3000 were followed by the rest of one of 4200.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Generator, Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from toolkit.models.demo.checkpoints import WEIGHTS, load
from toolkit.models.demo.clips import HELD_OUT, SENTENCES, Sentence, clips
from toolkit.models.demo.demo_pipeline import TOKENS, call, save_pipeline
from toolkit.models.demo.prompt_tokenizer import tokenizer
from toolkit.models.demo.training.descent import descend, rate_at
from toolkit.models.demo.training.recognise import recognise

LATENTS = "pipeline_latents.pt"
CLIPS = 576
"""Number of clips, which are encoded once; each sentence that is trained on has the same number of them."""

BATCH = 24
RATE = 1.5e-3
SHIFT = 3.0
"""Shift of the noise levels towards the noisy end, in training and in sampling."""

CLEAR = 0.25
"""The noise level below which the weight of an error no longer grows."""

UNPROMPTED = 0.1
"""Fraction of clips whose prompt is left out, so that guidance has something to lead away from."""

TRAINED = tuple(sentence for sentence in SENTENCES if sentence not in HELD_OUT)


def new_pipeline(vae: AutoencoderKLWan) -> WanPipeline:
    """Make an untrained pipeline around a trained video model: the form of Wan 2.1, with eight narrow layers."""
    words = tokenizer()
    text = UMT5Config(
        vocab_size=len(words), d_model=32, d_kv=8, d_ff=64, num_layers=1, num_heads=4, feed_forward_proj="gated-gelu",
        dropout_rate=0.0, pad_token_id=words.pad_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=4, attention_head_dim=24, in_channels=16, out_channels=16,
        text_dim=32, freq_dim=64, ffn_dim=288, num_layers=8, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )  # fmt: skip
    with torch.no_grad():
        for block in transformer.blocks:
            # The gates of attention and feed-forward start near zero and open slowly. Here they start open.
            block.scale_shift_table[:, (2, 5)] += 1
    scheduler = UniPCMultistepScheduler(prediction_type="sample", use_flow_sigmas=True, flow_shift=SHIFT)
    return WanPipeline(words, UMT5EncoderModel(text), vae, scheduler, transformer)


@torch.no_grad()
def encoded(vae: AutoencoderKLWan, sentences: Sequence[Sentence], *, generator: Generator) -> Tensor:
    """Encode one clip for each sentence to latents (n c t h w), scaled as a pipeline scales them."""
    mean, std = (torch.tensor(vae.config[name])[:, None, None, None] for name in ("latents_mean", "latents_std"))
    parts = []
    for first in range(0, len(sentences), 8):
        some = clips(sentences[first : first + 8], generator)
        parts.append((vae.encode(some).latent_dist.mode() - mean) / std)
    return torch.cat(parts)


def loss_of(pipe: WanPipeline, latents: Tensor, *, which: Tensor, generator: Generator) -> Tensor:
    """Compute the error of the picture predicted from its mixture with noise, at times spread as the sampler's are.

    The transformer predicts the picture and not the velocity: to predict the velocity, noise would have to pass through
    a transformer hardly wider than its patches. Errors are weighted as those of the velocity would be, but never more
    than at a noise level of ``CLEAR``.

    Args:
        pipe: The pipeline whose transformer and text encoder learn.
        latents: Scaled latents, ``b c t h w``.
        which: The index in ``TRAINED`` of what each shows, or ``len(TRAINED)`` to leave the prompt out (b).
        generator: Source of noise and times.
    """
    prompts = [*map(str, TRAINED), ""]
    # All sentences are encoded once per step, so gradients reach the text encoder from the whole batch.
    texts, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False, max_sequence_length=TOKENS)
    even = torch.rand(len(latents), generator=generator)
    # The same shift as the scheduler applies to its even steps.
    sigma = SHIFT * even / (1 + (SHIFT - 1) * even)
    noise = torch.randn(latents.shape, generator=generator)
    mixed = torch.lerp(latents, noise, sigma[:, None, None, None, None])
    seen = pipe.transformer(mixed, sigma * pipe.scheduler.config.num_train_timesteps, texts[which]).sample
    return ((seen - latents) / sigma.clamp(min=CLEAR)[:, None, None, None, None]).square().mean()


class Training:
    """A pipeline, the slow averages of what learns in it, and the optimizer, with a checkpoint file.

    It continues from the checkpoint in its folder if there is one. The latents are kept there too.

    Args:
        folder: Where the checkpoint is kept.
    """

    def __init__(self, folder: Path) -> None:
        vae = load(AutoencoderKLWan, WEIGHTS / "video_vae")
        self.pipe = new_pipeline(vae)
        self.models = nn.ModuleList([self.pipe.transformer, self.pipe.text_encoder])
        self.average = copy.deepcopy(self.models).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.models.parameters(), betas=(0.9, 0.99), weight_decay=1e-2)
        self.step = 0
        self.file = folder / "pipeline.pt"
        latents = folder / LATENTS
        if not latents.exists():
            share = TRAINED * (CLIPS // len(TRAINED))
            torch.save(encoded(vae, share, generator=Generator().manual_seed(0)), latents)
        self.latents = torch.load(latents)
        if self.file.exists():
            kept = torch.load(self.file)
            self.step = kept["step"]
            for name in ("models", "average", "optimizer"):
                getattr(self, name).load_state_dict(kept[name])

    def keep(self) -> None:
        """Write the checkpoint, whole or not at all."""
        states = {name: getattr(self, name).state_dict() for name in ("models", "average", "optimizer")}
        partial = self.file.with_suffix(".partial")
        torch.save({"step": self.step, **states}, partial)
        os.replace(partial, self.file)

    def advance(self, steps: int) -> float:
        """Take one step of a schedule of ``steps``, the same whenever it is taken, and return its loss."""
        generator = Generator().manual_seed(self.step)
        chosen = torch.randint(len(self.latents), (BATCH,), generator=generator)
        unprompted = torch.rand(BATCH, generator=generator) < UNPROMPTED
        # The latents repeat the sentences in order, so the index of a clip tells its sentence.
        which = torch.where(unprompted, len(TRAINED), chosen % len(TRAINED))
        loss = loss_of(self.pipe, self.latents[chosen], which=which, generator=generator)
        lost = descend(
            self.optimizer,
            self.models,
            average=self.average,
            loss=loss,
            rate=RATE * rate_at(self.step, steps),
            step=self.step,
        )
        self.step += 1
        return lost

    def shown(self) -> WanPipeline:
        """Make the pipeline with the slow averages."""
        transformer, text_encoder = self.average
        pipe = self.pipe
        return WanPipeline(pipe.tokenizer, text_encoder, pipe.vae, pipe.scheduler, transformer)


def right(pipe: WanPipeline, sentences: Iterable[Sentence], *, seed: int = 0) -> list[bool]:
    """Tell for each sentence whether a sample with it as the prompt shows what it says."""
    found = []
    for sentence in sentences:
        frames = pipe(**call(str(sentence), seed, output_type="pt")).frames[0]
        found.append(recognise(frames.movedim(0, 1) * 2 - 1) == sentence)
    return found


def train(folder: Path, steps: int, *, every: int) -> None:
    """Run the training to its end.

    Args:
        folder: Where the checkpoint is kept.
        steps: Length of the schedule.
        every: Steps between checkpoints, each with a score and weights to ship.
    """
    training = Training(folder)
    started, losses = time.monotonic(), []
    while training.step < steps:
        losses.append(training.advance(steps))
        if training.step % every == 0 or training.step == steps:
            training.keep()
            pipe = training.shown()
            pipe.set_progress_bar_config(disable=True)
            save_pipeline(pipe, WEIGHTS / "pipeline")
            score = sum(right(pipe, HELD_OUT))
            print(
                f"step {training.step}  loss {sum(losses) / len(losses):.4f}  {time.monotonic() - started:.0f} s  "
                f"{score} of {len(HELD_OUT)} held out",
                flush=True,
            )
            losses = []


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo_train"), help="where checkpoints are kept")
    parser.add_argument("--steps", type=int, default=4200, help="length of the schedule, counted from the first step")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train(arguments.folder, arguments.steps, every=arguments.every)


if __name__ == "__main__":
    main()
