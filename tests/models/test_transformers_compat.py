"""If one of these fails after an update of transformers, mend toolkit/models/transformers_compat.py."""

import subprocess
import sys

from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from toolkit.models.transformers_compat import is_transformers_model, transformers_logging


def test_a_text_encoder_is_recognised():
    config = UMT5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    assert is_transformers_model(UMT5EncoderModel(config))
    assert not is_transformers_model(nn.Linear(1, 1))


def test_asking_imports_nothing():
    program = (
        "import sys; from toolkit.models.transformers_compat import is_transformers_model as ask;"
        "assert not ask(3); assert 'transformers' not in sys.modules, 'transformers was imported'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_bars_can_be_switched():
    bars = transformers_logging()
    assert callable(bars.is_progress_bar_enabled)
    assert callable(bars.disable_progress_bar)
    assert callable(bars.enable_progress_bar)
