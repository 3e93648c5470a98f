"""What the package is called where it is installed from, and its version."""

DISTRIBUTION = "difftiles"
"""The name for pip: on the package index, ``toolkit`` is somebody else's."""

__version__ = "0.2.0"


def how_to_install(extra: str) -> str:
    """The command that installs what an optional part of the toolkit needs.

    Example:
        >>> how_to_install("widgets")
        "pip install 'difftiles[widgets]'"
    """
    return f"pip install '{DISTRIBUTION}[{extra}]'"
