"""The demo pipeline is an ordinary pipeline, small, offline and the same at every call, and follows its prompts."""

from typing import Any

import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor
from transformers import UMT5EncoderModel

from toolkit.models import demo
from toolkit.models.demo.clips import COLOURS, HELD_OUT, SENTENCES, SIZE, Sentence, clips
from toolkit.models.demo.demo_pipeline import FOLDER, save_pipeline
from toolkit.models.demo.prompt_tokenizer import tokenizer
from toolkit.models.demo.training.recognise import recognise
from toolkit.models.demo.training.train_pipeline import LATENTS, Training

STEPS = 6


@pytest.fixture(scope="module")
def pipe() -> Any:
    pipe = demo.pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def sample(pipe: Any, prompt: str, seed: int = 0, **more: Any) -> Tensor:
    """One video c t h w in [-1, 1]."""
    given = demo.call(prompt, seed, num_inference_steps=STEPS, output_type="pt", **more)
    return pipe(**given).frames[0].movedim(0, 1) * 2 - 1


def test_it_is_a_plain_pipeline_ready_for_use(pipe: Any) -> None:
    assert type(pipe) is WanPipeline
    assert type(pipe.transformer) is WanTransformer3DModel
    assert type(pipe.text_encoder) is UMT5EncoderModel
    assert type(pipe.scheduler) is UniPCMultistepScheduler
    assert pipe.tokenizer.is_fast
    assert len(pipe.transformer.blocks) == 8
    for model in (pipe.transformer, pipe.text_encoder, pipe.vae):
        assert not model.training
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        assert not any(parameter.requires_grad for parameter in model.parameters())


def test_its_files_are_small_and_the_video_model_is_there_once() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 3_000_000
    assert not (FOLDER / "vae").exists()
    assert {file.parent.name for file in files} == {
        "pipeline", "scheduler", "text_encoder", "tokenizer", "transformer"
    }  # fmt: skip


def test_the_folder_is_what_the_library_itself_loads(pipe: Any) -> None:
    again = WanPipeline.from_pretrained(FOLDER, vae=pipe.vae, local_files_only=True)
    for name in ("transformer", "text_encoder"):
        kept = getattr(again, name).state_dict()
        for key, had in getattr(pipe, name).state_dict().items():
            assert torch.equal(kept[key].float(), had), key
    assert again.scheduler.config == pipe.scheduler.config
    assert again.tokenizer.get_vocab() == pipe.tokenizer.get_vocab() == tokenizer().get_vocab()


def test_saving_what_was_loaded_changes_no_weight(pipe: Any, tmp_path) -> None:
    save_pipeline(pipe, tmp_path / "again")
    for file in FOLDER.rglob("*.safetensors"):
        assert (tmp_path / "again" / file.relative_to(FOLDER)).read_bytes() == file.read_bytes()
    assert not (tmp_path / "again" / "vae").exists()


def test_the_same_seed_gives_the_same_video(pipe: Any) -> None:
    once, again, other = (sample(pipe, demo.PROMPTS[0], seed, guidance_scale=1.0) for seed in (0, 0, 1))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


@pytest.fixture(scope="module")
def shown(pipe: Any) -> list[Sentence]:
    """What the samples show of the sentences that the pipeline was not trained on, all made in one batch."""
    given = demo.call([str(sentence) for sentence in HELD_OUT], num_inference_steps=STEPS, output_type="pt")
    return [recognise(frames.movedim(0, 1) * 2 - 1) for frames in pipe(**given).frames]


def test_samples_have_the_colour_and_the_motion_of_their_prompt(shown: list[Sentence]) -> None:
    assert [(seen.colour, seen.motion) for seen in shown] == [(said.colour, said.motion) for said in HELD_OUT]


def test_samples_mostly_have_the_shape_of_their_prompt(shown: list[Sentence]) -> None:
    assert sum(seen.shape == said.shape for seen, said in zip(shown, HELD_OUT, strict=True)) >= 9


def test_one_word_of_the_prompt_changes_the_colour_alone(pipe: Any) -> None:
    seen = [recognise(sample(pipe, f"a {colour} triangle moves right", seed=3)) for colour in COLOURS]
    assert seen == [Sentence(colour, "triangle", "right") for colour in COLOURS]


def test_arguments_given_take_the_place_of_the_default_ones() -> None:
    given = demo.call("a red ball moves up", 1, height=64, generator=None)
    assert (given["height"], given["width"], given["generator"]) == (64, SIZE[1], None)
    assert demo.call(seed=5)["generator"].initial_seed() == 5


def test_the_tokenizer_knows_the_words_of_the_prompts_only(pipe: Any) -> None:
    tokens = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer("A RED ball, moves   sideways!").input_ids)
    assert tokens == ["a", "red", "ball", "moves", "<unk>", "</s>"]
    for prompt in demo.PROMPTS:
        assert pipe.tokenizer.unk_token_id not in pipe.tokenizer(prompt).input_ids


def test_clips_show_what_their_sentence_says() -> None:
    shown = clips(SENTENCES, torch.Generator().manual_seed(1))
    assert [recognise(clip) for clip in shown] == list(SENTENCES)
    assert shown.min() >= -1
    assert shown.max() <= 1


def test_the_video_model_keeps_what_clips_show(pipe: Any) -> None:
    chosen = SENTENCES[::7]
    latents = demo.latents(pipe.vae, clips(chosen, torch.Generator().manual_seed(2)))
    assert [recognise(clip) for clip in pipe.vae.decode(latents).sample] == list(chosen)


def test_an_interrupted_training_continues_as_if_it_had_not_been(tmp_path) -> None:
    torch.save(torch.randn(36, 16, 2, 4, 4, generator=torch.Generator().manual_seed(0)), tmp_path / LATENTS)
    torch.manual_seed(0)
    whole = Training(tmp_path)
    whole.advance(steps=9)
    whole.keep()
    again = Training(tmp_path)
    assert whole.advance(steps=9) == again.advance(steps=9)
    for one, other in zip(whole.average.parameters(), again.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_sentences_that_are_held_out_leave_every_pair_of_words_to_be_learnt() -> None:
    assert len(set(map(str, SENTENCES))) == 48
    trained = set(SENTENCES) - set(HELD_OUT)
    pairs = {(one.colour, one.shape) for one in trained}, {(one.shape, one.motion) for one in trained}
    assert [len(kind) for kind in pairs] == [12, 12]
    assert Sentence("red", "ball", "right") in trained
