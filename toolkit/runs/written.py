"""Files as they are written: refused early, written whole or not at all, with errors that name the path.

A file is written under a name that nobody can guess, in the folder of the file itself, and takes that file's place once
it is complete. So whoever reads meanwhile finds the old file or the new one, and a full disk leaves the old one.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from toolkit.errors import PlanError, ToolkitError

AnyPath: TypeAlias = "str | os.PathLike[str]"
Data: TypeAlias = "bytes | str | Callable[[Path], object]"
"""The contents of a file, or a function that writes them to the path that it is given."""

PRIVATE, SHARED = 0o600, 0o666
"""Modes of new files; the process's umask takes bits away."""

LONGEST_SUFFIX = 20

_REMEDIES = {
    errno.ENOSPC: "free some space, or give a path on another disk",
    errno.EDQUOT: "free some space, or give a path on another disk",
    errno.EFBIG: "raise the limit on the size of files, or write less",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "give a path whose symbolic links do not lead in a circle",
}


def check_writable(path: AnyPath, what: str = "path=") -> None:
    """Refuse a path to which no file can be written, before the work for it starts. Nothing is written.

    Args:
        path: The file.
        what: How the caller names the argument.

    Raises:
        PlanError: If the path is a folder, its folder does not exist, or no file may have its name.

    Example:
        >>> check_writable("no/such/folder/trace.json")
        Traceback (most recent call last):
        toolkit.errors.PlanError: path='no/such/folder/trace.json': the folder 'no/such/folder' does not exist; create
        it first.
    """
    reason = _name_refused(path) or _place_refused(path)
    if reason is not None:
        raise PlanError(f"{what}{shown_path(path)}: {reason}")


def check_folder(path: AnyPath, what: str = "folder=") -> None:
    """Refuse a path that is no folder and at which none can be made. Nothing is made.

    Raises:
        PlanError: If the path is a file, or the folder that it would be made in does not exist.

    Example:
        >>> check_folder("no/such/folder", "--trace ")
        Traceback (most recent call last):
        toolkit.errors.PlanError: --trace 'no/such/folder': the folder 'no/such' does not exist; create it first.
    """
    reason = _name_refused(path)
    if reason is None and os.path.isdir(path):
        reason = None if os.access(path, os.W_OK | os.X_OK) else "you may not write into this folder; give another."
    elif reason is None:
        reason = "is a file, but must be a folder; give another path." if os.path.exists(path) else _place_refused(path)
    if reason is not None:
        raise PlanError(f"{what}{shown_path(path)}: {reason}")


def write(path: AnyPath, data: Data, *, private: bool = True) -> Path:
    """Write one file, whole or not at all.

    Args:
        path: The file. A symbolic link stays, and the file that it points to is written.
        data: Its contents; text becomes UTF-8.
        private: Make a new file readable for its owner only, as reports and records are. A file that exists keeps its
            mode.

    Raises:
        ToolkitError: If it cannot be written. What was there is unchanged.
    """
    write_all({Path(path) if _name_refused(path) is None else path: data}, private=private)
    return Path(path)


def write_all(files: Mapping[AnyPath, Data], *, folder: Path | None = None, private: bool = True) -> None:
    """Write several files that belong together: all of them are complete before the first one takes its place.

    Args:
        files: The contents of each. The first file takes its place last, so let it be the one that refers to the rest.
        folder: A folder to make first, if it does not exist. It is removed again if the files cannot be written.
        private: As in :func:`write`.

    Raises:
        ToolkitError: If one of them cannot be written.
    """
    with ExitStack() as made:
        if folder is not None and not folder.is_dir():
            check_folder(folder)
            with explained(folder):
                folder.mkdir()
            made.callback(_remove_empty, folder)
        # The stack leaves the drafts in reverse order.
        with ExitStack() as drafts:
            for path, data in files.items():
                name = drafts.enter_context(draft(path, private=private))
                with explained(path):
                    _fill(name, data)
        made.pop_all()


@contextmanager
def draft(path: AnyPath, *, private: bool = True) -> Iterator[Path]:
    """The name of a new, empty file that takes the place of ``path`` when the ``with`` block ends without an error.

    It lies beside ``path``, so that the move is one step, and has the same ending. A device or a pipe is written
    directly.

    Raises:
        ToolkitError: If the file cannot be made or cannot take its place.
    """
    check_writable(path)
    if _is_special(path):
        yield Path(path)
        return
    target = Path(os.path.realpath(path))
    with explained(path):
        mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
        name = _new_file(target, PRIVATE if private or mode is not None else SHARED)
        mode = stat.S_IMODE(name.stat().st_mode) if mode is None else mode
    try:
        yield name
        with explained(path):
            name.chmod(mode)
            os.replace(name, target)
    finally:
        name.unlink(missing_ok=True)


@contextmanager
def explained(path: AnyPath) -> Iterator[None]:
    """Turn an error of the operating system in the ``with`` block into one that names the path and the remedy."""
    try:
        yield
    except OSError as error:
        # RunTimeout is an OSError, too; the toolkit's own errors say what they have to say.
        if isinstance(error, ToolkitError):
            raise
        cause = os.strerror(error.errno) if error.errno else str(error)
        remedy = _REMEDIES.get(error.errno or 0, "give a path that you may write to")
        raise ToolkitError(f"{shown_path(path)} could not be written ({cause}): {remedy}.") from error


def shown_path(path: object) -> str:
    """A path as messages print it: quoted, with its strange characters escaped, and not endless.

    Example:
        >>> shown_path(Path("a") / "b.mp4"), shown_path("x" * 300)[-12:]
        ("'a/b.mp4'", "xxxxxxxx...'")
    """
    if not isinstance(path, str | os.PathLike):
        return repr(path)
    text = repr(str(path))
    return text if len(text) <= 200 else f"{text[:190]}...'"


def _name_refused(path: AnyPath) -> str | None:
    """Why no file can have this name, whatever lies on the disk."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        return "must be a str or a Path; give the name of a file."
    if not os.fspath(path):
        return "is empty; give the name of a file."
    try:
        zero = b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        return "contains a character that no file name can have; leave it out."
    return "contains a zero byte, which no file name can have; leave it out." if zero else None


def _place_refused(path: AnyPath) -> str | None:
    """Why nothing can be written at this path now."""
    try:
        target = Path(os.path.realpath(path))
    except FileNotFoundError:
        return "the working folder no longer exists; give an absolute path, or os.chdir to a folder that exists."
    try:
        kind = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _folder_refused(target.parent, Path(path).parent)
    except OSError as error:
        return f"{os.strerror(error.errno or 0)}; {_REMEDIES.get(error.errno or 0, 'give another path')}."
    if stat.S_ISDIR(kind):
        return "is a folder; give the name of a file in it."
    if not os.access(path, os.W_OK):
        return "this file may not be written; give another name, or change its permissions."
    return _folder_refused(target.parent, Path(path).parent) if stat.S_ISREG(kind) else None


def _folder_refused(folder: Path, named: Path) -> str | None:
    if not folder.exists():
        return f"the folder {shown_path(named)} does not exist; create it first."
    if not folder.is_dir():
        return f"{shown_path(named)} is not a folder; give a path in a folder."
    return (
        None if os.access(folder, os.W_OK | os.X_OK) else f"you may not write into {shown_path(named)}; give another."
    )


def _is_special(path: AnyPath) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def _new_file(target: Path, mode: int) -> Path:
    """Make an empty file beside ``target``. O_EXCL: never one that is there, nor one that a link leads to."""
    suffix = target.suffix if len(target.suffix) <= LONGEST_SUFFIX else ""
    name = target.with_name(f".{secrets.token_hex(8)}.part{suffix}")
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    return name


def _fill(name: Path, data: Data) -> None:
    if callable(data):
        data(name)
    else:
        name.write_bytes(data.encode() if isinstance(data, str) else data)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
