"""The one look-up by class that all tables of model classes share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


def entry_by_class(table: Mapping[str, Entry], cls: type[object]) -> Entry | None:
    """Find the entry of a class, or of the nearest class that it derives from.

    Tables name classes by strings, so that reading one imports no model. A subclass shares its parent's entry: it is
    served where the parent is served and refused where the parent is refused, until it has an entry of its own.

    Args:
        table: Entries by class name.
        cls: The class to look up.

    Returns:
        The entry; None if neither the class nor any of its bases has one.

    Example:
        >>> class Wan: ...
        >>> class MyWan(Wan): ...
        >>> entry_by_class({"Wan": 1}, MyWan), entry_by_class({"Flux": 2}, MyWan)
        (1, None)
    """
    for base in cls.__mro__:
        if base.__name__ in table:
            return table[base.__name__]
    return None
