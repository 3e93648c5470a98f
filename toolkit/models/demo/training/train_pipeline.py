"""Trains the demo pipeline from scratch: `python -m toolkit.models.demo.training.train_pipeline`.

The transformer and the text encoder learn together, by flow matching, on the latents of `clips.py` as the demo's video
model encodes them; that model is not trained further. It takes about half an hour on one core. Colours are learnt
first, then where things are and move, outlines last: balls and squares are still taken for each other. An interrupted
training continues from its checkpoint; `--steps` then shortens or lengthens its schedule. The shipped weights were made
so: 1500 steps of a schedule of 3000, then those left of one of 4200.
"""

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
"""How many are encoded, once; each sentence that is trained on has as many as any other."""

BATCH = 24
RATE = 1.5e-3
SHIFT = 3.0
"""Of the noise towards its end, in training and in sampling."""

CLEAR = 0.25
"""The least part of noise that makes a difference to the weight of an error."""

UNTOLD = 0.1
"""How often the prompt is left out, so that guidance has something to lead away from."""

TRAINED = tuple(sentence for sentence in SENTENCES if sentence not in HELD_OUT)


def new_pipeline(vae: AutoencoderKLWan) -> WanPipeline:
    """An untrained pipeline around a trained video model: the Wan 2.1 form with eight narrow layers."""
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
            # The gates of attention and feed-forward begin near zero, and open slowly: here they begin open.
            block.scale_shift_table[:, (2, 5)] += 1
    scheduler = UniPCMultistepScheduler(prediction_type="sample", use_flow_sigmas=True, flow_shift=SHIFT)
    return WanPipeline(words, UMT5EncoderModel(text), vae, scheduler, transformer)


@torch.no_grad()
def encoded(vae: AutoencoderKLWan, sentences: Sequence[Sentence], generator: Generator) -> Tensor:
    """One clip for each sentence as latents (n c t h w), scaled as a pipeline scales them."""
    mean, std = (torch.tensor(vae.config[name])[:, None, None, None] for name in ("latents_mean", "latents_std"))
    parts = []
    for first in range(0, len(sentences), 8):
        some = clips(sentences[first : first + 8], generator)
        parts.append((vae.encode(some).latent_dist.mode() - mean) / std)
    return torch.cat(parts)


def loss_of(pipe: WanPipeline, latents: Tensor, told: Tensor, generator: Generator) -> Tensor:
    """Error of the picture that is told from its mixture with noise, at times drawn as the sampler visits them.

    The picture and not the velocity: noise would have to pass through a transformer hardly wider than its patches. The
    errors count as those of the velocity do, at little noise no more than at `CLEAR`.

    Args:
        pipe: whose transformer and text encoder learn.
        latents: b c t h w, scaled.
        told: for each which of `TRAINED` it shows, or `len(TRAINED)` where it is not told (b).
        generator: of noise and times.
    """
    prompts = [*map(str, TRAINED), ""]
    texts, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False, max_sequence_length=TOKENS)
    even = torch.rand(len(latents), generator=generator)
    sigma = SHIFT * even / (1 + (SHIFT - 1) * even)
    noise = torch.randn(latents.shape, generator=generator)
    mixed = torch.lerp(latents, noise, sigma[:, None, None, None, None])
    seen = pipe.transformer(mixed, sigma * pipe.scheduler.config.num_train_timesteps, texts[told]).sample
    return ((seen - latents) / sigma.clamp(min=CLEAR)[:, None, None, None, None]).square().mean()


class Training:
    """A pipeline, the slow averages of what learns in it and the optimizer, with a checkpoint file."""

    def __init__(self, folder: Path) -> None:
        """Continues from the checkpoint in `folder`, or starts anew; the latents are kept there too."""
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
            torch.save(encoded(vae, share, Generator().manual_seed(0)), latents)
        self.latents = torch.load(latents)
        if self.file.exists():
            kept = torch.load(self.file)
            self.step = kept["step"]
            for name in ("models", "average", "optimizer"):
                getattr(self, name).load_state_dict(kept[name])

    def keep(self) -> None:
        """Writes the checkpoint, whole or not at all."""
        states = {name: getattr(self, name).state_dict() for name in ("models", "average", "optimizer")}
        partial = self.file.with_suffix(".partial")
        torch.save({"step": self.step, **states}, partial)
        os.replace(partial, self.file)

    def advance(self, steps: int) -> float:
        """One step of `steps`, the same whenever it is taken; returns its loss."""
        generator = Generator().manual_seed(self.step)
        chosen = torch.randint(len(self.latents), (BATCH,), generator=generator)
        untold = torch.rand(BATCH, generator=generator) < UNTOLD
        told = torch.where(untold, len(TRAINED), chosen % len(TRAINED))
        loss = loss_of(self.pipe, self.latents[chosen], told, generator)
        lost = descend(self.optimizer, self.models, self.average, loss, RATE * rate_at(self.step, steps), self.step)
        self.step += 1
        return lost

    def shown(self) -> WanPipeline:
        """The pipeline with the slow averages."""
        transformer, text_encoder = self.average
        pipe = self.pipe
        return WanPipeline(pipe.tokenizer, text_encoder, pipe.vae, pipe.scheduler, transformer)


def right(pipe: WanPipeline, sentences: Iterable[Sentence], seed: int = 0) -> list[bool]:
    """Of each sentence as a prompt, whether its sample shows what it says."""
    found = []
    for sentence in sentences:
        frames = pipe(**call(str(sentence), seed, output_type="pt")).frames[0]
        found.append(recognise(frames.movedim(0, 1) * 2 - 1) == sentence)
    return found


def train(folder: Path, steps: int, every: int) -> None:
    """Runs the training to its end, with a checkpoint, a score and weights to ship `every` so many steps."""
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
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo_train"), help="where checkpoints are kept")
    parser.add_argument("--steps", type=int, default=4200, help="length of the schedule, counted from the first step")
    parser.add_argument("--every", type=int, default=250, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    train(arguments.folder, arguments.steps, arguments.every)


if __name__ == "__main__":
    main()
