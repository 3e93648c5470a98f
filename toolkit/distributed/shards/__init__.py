"""Exact shards: the model's own code on each rank's part of the map, with what crosses the borders brought in.

A :class:`~torch.overrides.TorchFunctionMode` sees every call that the model makes. Activations are plain tensors that
also remember which of their dims is a *strip* of which axis (strip.py). Most operations are local and only pass this
on; the few that reach across a border have a rule (rules/); an operation without a rule is refused.
"""
