"""What of a record's entries everybody may read: no prompts, no secrets, no names of people, machines or folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEFT_OUT = "left out"
"""What stands in a public record in place of an entry."""

SECRET = {
    "token",
    "auth",
    "authorization",
    "password",
    "passwd",
    "secret",
    "credential",
    "credentials",
    "key",
    "cookie",
}
PERSONAL = {"prompt", "host", "hostname", "user", "username", "login", "home", "cwd", "env", "environ", "environment"}
"""Words in the name of an entry that is left out: one of the first whatever it holds, one of the second if words."""

_TOKEN = re.compile(
    r"\b(?:hf|ghp|gho|github_pat|glpat|sk|pk|xox[abp])[_-][\w-]{8,}|\bBearer\s+\S+|://[^\s/@]+:[^\s/@]+@"
)
"""Strings that are credentials, whatever the entry is called; the last is a password in an address."""

_PATH = re.compile(r"""(?<![\w/])(?:~[\w.-]*|[A-Za-z]:)?[/\\]+(?:[^\s/\\'",;)\]]+[/\\])+([^\s/\\'",;)\]]*)""")
_PLAIN = re.compile(r"generator, seed -?\d+|(?:list|tuple): [\d\s.,eE+()\[\]-]*")
"""Arguments of a call in words that say nothing private: a generator, and numbers."""

_WORD_ARGUMENTS = {"output_type"}


def public_entries(value: Any, name: str = "") -> Any:
    """A record's entry without secrets, without names of hosts and users, and with only the last part of each path.

    Args:
        value: A mapping, a sequence or a plain value.
        name: The name of the entry.

    Example:
        >>> public_entries({"device": "cpu", "token": "abc", "file": "read from /home/me/models/wan/vae.safetensors"})
        {'device': 'cpu', 'token': 'left out', 'file': 'read from vae.safetensors'}
    """
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    empty = value is None or isinstance(value, bool)
    if (words & SECRET and not empty) or (words & PERSONAL and isinstance(value, str | Mapping | list | tuple)):
        return LEFT_OUT
    if isinstance(value, Mapping):
        return {key: public_entries(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public_entries(item) for item in value]
    return public_text(value) if isinstance(value, str) else value


def public_call(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call without the words among them: prompts have many names, and so have secrets.

    Tensors (as shape, dtype and hash), numbers, generators and the kind of output stay. So does the last part of the
    pipeline's folder.

    Example:
        >>> public_call({"pipeline": "/home/me/wan", "prompt": "my secret plan", "num_frames": 81, "output_type": "pt"})
        {'pipeline': 'wan', 'prompt': 'left out', 'num_frames': 81, 'output_type': 'pt'}
    """
    if {"shape", "dtype"} <= arguments.keys():  # a tensor's own facts: the input of a decode or an encode
        return dict(arguments)
    return {name: _public_argument(name, value) for name, value in arguments.items()}


def public_text(text: str) -> str:
    """A text with only the last part of each path in it, and without credentials.

    Example:
        >>> public_text("/home/jane doe/wan 2.1"), public_text("https://me:word@example.org")
        ('wan 2.1', 'left out')
    """
    if _TOKEN.search(text):
        return LEFT_OUT
    whole = re.fullmatch(r"(?:~[\w.-]*|[A-Za-z]:)?[/\\][^'\"\n]*|~[\w.-]*", text)
    if whole:
        # A folder's name may have spaces, so a text that is nothing but a path is cut as one.
        parts = [part for part in re.split(r"[/\\]", text) if part]
        home = str(Path.home()).rstrip("/")
        return LEFT_OUT if not parts or text.rstrip("/") == home or parts[-1].startswith("~") else parts[-1]
    return _PATH.sub(lambda found: found[1] or LEFT_OUT, text)


def _public_argument(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return public_call(value)
    if not isinstance(value, str):
        return public_entries(value, name)
    if name == "pipeline":
        return public_text(value)
    words = name in _WORD_ARGUMENTS and value.isidentifier()
    return value if words or _PLAIN.fullmatch(value) else LEFT_OUT
