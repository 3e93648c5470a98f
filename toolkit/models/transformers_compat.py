"""What the toolkit needs of the transformers library without importing it before somebody else has."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def is_transformers_model(value: Any) -> bool:
    """Whether a value is a model of transformers.

    The reason for the look into ``sys.modules``: importing transformers takes seconds, and a process that has not
    imported it cannot hold a model of it. If ``PreTrainedModel`` moves out of ``transformers.modeling_utils``, text
    encoders are no longer recognised, and pickling one fails.

    Example:
        >>> is_transformers_model(3)
        False
    """
    library = sys.modules.get("transformers.modeling_utils")
    return library is not None and isinstance(value, library.PreTrainedModel)


def transformers_logging() -> Any:
    """Return the module that turns transformers' progress bars on and off.

    Importing it is put off until a pipeline is loaded, which imports transformers in any case.
    """
    return import_module("transformers.utils.logging")
