"""Writing down what a rank does again and again, such as a stage's calls and blends of tiles: in full only once.

The first call of a form is made, and its steps are written as they come. A later call of the same form is not made: its
steps are those of the first, written as one section, and so are its results. A stage waits for a message in the middle
of a call, so that makes two sections:

    first call     clone, convolution, ...   receive   addmm, gelu, ...
    later calls    section "before"          receive   section "after"

That is right if nothing but the form of its arguments decides what a call does. So a call is not repeated if it has
asked for values, posted messages of its own, written to known values, or kept memory beyond its results.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import count
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from toolkit.errors import RunError
from toolkit.numerics.tensor_compat import TreeSpec, tree_flatten, tree_leaves, tree_unflatten, version_of
from toolkit.planning.rehearsing.answers_compat import Answer, Answers
from toolkit.planning.rehearsing.fake_tensors_compat import storage_bytes
from toolkit.planning.rehearsing.known_values import KnownValues
from toolkit.planning.rehearsing.scribe import Mark, Scribe, Stretch


class Past(NamedTuple):
    """A call that was made.

    Attributes:
        name: Names its sections.
        before: What was done before the message came; all, if none did.
        after: What was done then.
        received: The form of the message.
        results: The tensors and other values that it returned.
        spec: What they were in.
    """

    name: str
    before: Stretch
    after: Stretch | None
    received: Hashable
    results: Answer
    spec: TreeSpec


class RepeatMemory:
    """The calls that any rank has made so far.

    Attributes:
        calls: By function, and by the form of the arguments.
        numbers: Tell calls apart whose functions have the same name.
    """

    def __init__(self) -> None:
        self.calls: dict[Callable[..., Any], dict[Hashable, Past]] = defaultdict(dict)
        self.numbers = count()


class Repeats:
    """Wraps what one rank calls again and again: ``repeated`` of its :class:`toolkit.distributed.comm.rank.Rank`.

    Args:
        scribe: Writes the rank's script.
        values: What is known of tensors without data.
        answers: Makes results.
        memory: The calls so far.
    """

    def __init__(self, scribe: Scribe, values: KnownValues, answers: Answers, memory: RepeatMemory) -> None:
        self.scribe, self.values, self._answers, self._memory = scribe, values, answers, memory

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that does the same as ``function``, in sections after its first call."""
        past, name = self._memory.calls[function], getattr(function, "__name__", repr(function))

        def call(receive: Callable[[], Any] | None, *args: Any, **kwargs: Any) -> Any:
            leaves, spec = tree_flatten((args, kwargs))
            form = receive is None, repr(spec), self.form(leaves)
            if form in past:
                return self._again(past[form], receive, leaves)
            first = _First(self, f"{name} {next(self._memory.numbers)}", leaves)
            output = function(receive and first.receiving(receive), *args, **kwargs)
            found = first.past(output)
            if found is not None:
                past[form] = found
            return output

        return call

    def _again(self, past: Past, receive: Callable[[], Any] | None, given: Sequence[Any]) -> Any:
        """Write down a call that is like one in the past, and make its results."""
        tensors, held = _tensors(given), past.before.kept if past.after else 0
        self.scribe.repeat(f"{past.name}, before", past.before, held)
        if past.after is not None and receive is not None:
            received = tree_leaves(receive())
            if self.form(received) != past.received:
                raise RunError(
                    f"{past.name}: a message of another form than at the first call. This is a mistake of the toolkit; "
                    "please report it with the plan."
                )
            tensors += _tensors(received)
            self.scribe.repeat(f"{past.name}, after", past.after, -held)
            del received
        results = self._answers.made(past.results, tensors)
        # A call has let go of what it received before it returns, so it does not count beside the results.
        del tensors
        self.scribe.allocated(results)
        return tree_unflatten(results, past.spec)

    def form(self, leaves: Sequence[Any]) -> Hashable:
        """What a call follows from: shapes, whose values are known, and what is no tensor."""
        around = torch.get_default_dtype(), torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")
        return around, tuple(map(self._form_of, leaves))

    def _form_of(self, leaf: Any) -> Hashable:
        if isinstance(leaf, Tensor):
            return leaf.shape, leaf.stride(), leaf.dtype, leaf.device, self.values.twin_of(leaf) is None
        # With the type: 1 is equal to True. What cannot be compared by value is told apart by its identity.
        return type(leaf), leaf

    def described(self, output: Sequence[Any], given: Sequence[Tensor | None]) -> Answer | None:
        """What a call returned; None if it cannot be made again."""
        new = [one for one in _tensors(output) if not any(one is other for other in given)]
        if any(self.values.twin_of(one) is not None for one in new):
            return None
        answer = self._answers.learnt(Answer("", None), tuple(output), given)
        return None if answer.results is None else answer


class _First:
    """A call while it is made for the first time.

    Args:
        repeats: The rank's calls.
        name: Names it.
        given: Its arguments.
    """

    def __init__(self, repeats: Repeats, name: str, given: Sequence[Any]) -> None:
        self._repeats, self._name, self._given = repeats, name, _tensors(given)
        self._known = [one for one in self._given if repeats.values.twin_of(one) is not None]
        self._versions = [version_of(one) for one in self._known]
        self._begin: Mark = repeats.scribe.mark()
        self._mark = self._begin
        self._before: Stretch | None = None
        self._received: Hashable = None
        self._came: list[ref[Tensor]] = []
        self._is_new = False

    def receiving(self, receive: Callable[[], Any]) -> Callable[[], Any]:
        """The function by which the call gets its message; it takes notes before and after it."""

        def take() -> Any:
            scribe = self._repeats.scribe
            self._before, live = scribe.since(self._mark), scribe.live
            payload = receive()
            leaves = tree_leaves(payload)
            self._received, self._is_new = self._repeats.form(leaves), scribe.live > live
            # Weakly: the call must be able to free what it has received.
            self._came = [ref(one) for one in _tensors(leaves)]
            self._mark = scribe.mark()
            return payload

        return take

    def past(self, output: Any) -> Past | None:
        """What there is to repeat of the call, now that it has returned; None if it must be made every time."""
        last, waited = self._repeats.scribe.since(self._mark), self._received is not None
        before, after = (self._before, last) if waited else (last, None)
        leaves, spec = tree_flatten(output)
        results = self._repeats.described(leaves, [*self._given, *(one() for one in self._came)])
        if before is None or last is None or results is None or self._leaves_traces(leaves, results):
            return None
        if not waited:
            self._repeats.scribe.fold(f"{self._name}, before", before, self._begin)
        return Past(self._name, before, after, self._received, results, spec)

    def _leaves_traces(self, leaves: Sequence[Any], results: Answer) -> bool:
        """Whether the call has written to known values, or allocated more than its results and what it received."""
        if [version_of(one) for one in self._known] != self._versions:
            return True
        new = sum(storage_bytes(leaves[place]) for place in results.new)
        held = {id(one.untyped_storage()): storage_bytes(one) for one in _alive(self._came)} if self._is_new else {}
        return self._repeats.scribe.live - self._begin.live != new + sum(held.values())


def _tensors(leaves: Sequence[Any]) -> list[Tensor]:
    return [leaf for leaf in leaves if isinstance(leaf, Tensor)]


def _alive(tensors: Sequence[ref[Tensor]]) -> list[Tensor]:
    return [one for tensor in tensors if (one := tensor()) is not None]
