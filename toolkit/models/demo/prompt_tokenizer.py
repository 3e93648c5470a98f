"""The tokenizer that splits a prompt into words; it is saved with the pipeline, so only training makes one."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from toolkit.models.demo.clips import PROMPTS

SPECIAL = ("<pad>", "</s>", "<unk>")


def tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer with one token per word and one at the end.

    Capitals and punctuation do not matter, and words outside ``PROMPTS`` are ``<unk>``.

    Example:
        >>> tokenizer().tokenize("A red cube moves left.")
        ['a', 'red', '<unk>', 'moves', 'left']
    """
    words = sorted({word for prompt in PROMPTS for word in prompt.split()})
    vocab = {token: number for number, token in enumerate([*SPECIAL, *words])}
    fast = Tokenizer(WordLevel(vocab, unk_token="<unk>"))
    fast.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex(r"[^\w\s]"), " ")])
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", vocab["</s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", padding_side="right"
    )
