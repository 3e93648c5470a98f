"""The demo models reconstruct pictures they were never trained on; the pictures never change."""

import itertools
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderKLWan

from toolkit.models import demo
from toolkit.models.demo.checkpoints import WEIGHTS, load, save
from toolkit.models.demo.photographs import HELD_OUT, TRAINING
from toolkit.models.demo.training.flat import flat
from toolkit.models.demo.training.train import new_video_vae
from toolkit.models.demo.videos import VIDEOS, Camera, Sway, render


def psnr(seen: torch.Tensor, sample: torch.Tensor) -> float:
    return 10 * math.log10(4 / F.mse_loss(seen.clamp(-1, 1), sample).item())


@pytest.fixture(scope="module")
def image_vae() -> AutoencoderKL:
    return demo.image_vae()


@pytest.fixture(scope="module")
def video_vae() -> AutoencoderKLWan:
    return demo.video_vae()


@pytest.mark.parametrize(("name", "least"), [("coffee", 25.0), ("chelsea", 28.1)])
@torch.no_grad()
def test_image_model_reconstructs_held_out_picture(image_vae: AutoencoderKL, name: str, least: float) -> None:
    sample = demo.image(name)
    seen = image_vae.decode(demo.latents(image_vae, sample)).sample
    assert seen.shape == sample.shape
    assert psnr(seen, sample) >= least


@pytest.mark.parametrize(("name", "least"), [("pan", 21.1), ("zoom", 24.5), ("object", 21.9)])
@torch.no_grad()
def test_video_model_reconstructs_held_out_video(video_vae: AutoencoderKLWan, name: str, least: float) -> None:
    sample = demo.video(name, frames=9, size=(128, 128))
    seen = video_vae.decode(demo.latents(video_vae, sample)).sample
    assert seen.shape == sample.shape
    assert psnr(seen, sample) >= least


def test_models_are_ready_for_use(image_vae: AutoencoderKL, video_vae: AutoencoderKLWan) -> None:
    for vae in (image_vae, video_vae):
        assert not vae.training
        assert {parameter.dtype for parameter in vae.parameters()} == {torch.float32}
        assert not any(parameter.requires_grad for parameter in vae.parameters())


def test_each_call_gives_a_model_of_its_own(image_vae: AutoencoderKL) -> None:
    assert demo.image_vae() is not image_vae


def test_weights_are_small() -> None:
    assert sum(file.stat().st_size for file in WEIGHTS.glob("*_vae/*")) < 8_000_000


@pytest.mark.parametrize("hidden", ["", "accelerate"])
def test_loading_is_silent_and_offline(hidden: str) -> None:
    program = f"""
import importlib.util, socket, sys
def refuse(*_): raise OSError("no network")
socket.socket.connect = refuse
if {hidden!r}:
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name == {hidden!r} else real(name, *rest)
from diffusers.utils import is_accelerate_available
assert not ({hidden!r} and is_accelerate_available())
from toolkit.models import demo
demo.image_vae(), demo.video_vae(), demo.pipeline()
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", HELD_OUT)
def test_image(name: str) -> None:
    sample = demo.image(name, size=(64, 96))
    assert sample.shape == (1, 3, 64, 96)
    assert sample.min() >= -1
    assert sample.max() <= 1
    assert torch.equal(sample, demo.image(name, size=(64, 96)))


def test_image_keeps_the_pixels_of_the_file() -> None:
    assert demo.image("coffee").shape == (1, 3, 400, 600)
    assert demo.image("chelsea").shape == (1, 3, 296, 448)
    levels = (demo.image("chelsea") + 1) * 127.5
    assert torch.allclose(levels, levels.round(), atol=1e-4)


def test_a_picture_may_be_written_into() -> None:
    demo.image().zero_()
    assert demo.image().abs().max() > 0.5


def test_test_pictures_are_not_trained_on() -> None:
    shown = {*HELD_OUT, *(scene.background for scene in VIDEOS.values()), *(scene.object for scene in VIDEOS.values())}
    assert not shown & set(TRAINING)


@pytest.mark.parametrize("name", VIDEOS)
def test_video(name: str) -> None:
    sample = demo.video(name, frames=5, size=(64, 96))
    assert sample.shape == (1, 3, 5, 64, 96)
    assert sample.min() >= -1
    assert sample.max() <= 1
    assert torch.equal(sample, demo.video(name, frames=5, size=(64, 96)))


@pytest.mark.parametrize("name", VIDEOS)
def test_video_moves_smoothly(name: str) -> None:
    frames = demo.video(name, frames=17, size=(128, 128))[0].unbind(1)
    steps = [psnr(after, before) for before, after in itertools.pairwise(frames)]
    assert max(steps) < 45
    assert min(steps) > 12


def test_longer_video_begins_with_the_shorter() -> None:
    assert torch.equal(demo.video(frames=9, size=(64, 64))[:, :, :5], demo.video(frames=5, size=(64, 64)))


def test_still_camera_shows_the_picture_itself() -> None:
    picture = demo.image("chelsea", size=(64, 64))[0]
    still = render(picture, Camera(view=Sway(1.0)), frames=2, size=(64, 64))
    assert torch.allclose(still, picture.expand(2, -1, -1, -1), atol=1e-4)


@pytest.mark.parametrize(("make", "name"), [(demo.image, "lena"), (demo.video, "coffee")])
def test_unknown_name_lists_the_names(make, name: str) -> None:
    with pytest.raises(ValueError, match=r"no \w+ '\w+'; there are \w+, "):
        make(name)


@torch.no_grad()
def test_latents_choose_the_sample(image_vae: AutoencoderKL, video_vae: AutoencoderKLWan) -> None:
    assert torch.equal(demo.latents(image_vae), demo.latents("image", demo.image()))
    assert demo.latents().shape == (1, 16, 50, 75)
    assert demo.latents(video_vae, demo.video(frames=5, size=(64, 96))).shape == (1, 16, 2, 8, 12)


@torch.no_grad()
def test_flat_is_the_same_function_of_one_frame() -> None:
    torch.manual_seed(0)
    vae = new_video_vae()
    for parameter in vae.parameters():
        parameter += 0.01 * torch.randn_like(parameter)
    frame = torch.rand(2, 3, 1, 32, 48) * 2 - 1
    whole = vae(frame).sample
    with flat(vae):
        swapped = vae(frame).sample
    assert torch.allclose(whole, swapped, atol=1e-5)
    assert torch.equal(whole, vae(frame).sample)


@torch.no_grad()
def test_save_and_load(tmp_path) -> None:
    vae = new_video_vae()
    save(vae, tmp_path)
    again = load(AutoencoderKLWan, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"config.json", "diffusion_pytorch_model.safetensors"}
    for kept, had in zip(again.parameters(), vae.parameters(), strict=True):
        assert torch.allclose(kept, had, atol=1e-3)
