"""Exact shards: the model's own code on each rank's part of the map, with what crosses the borders brought in.

A :class:`~torch.overrides.TorchFunctionMode` sees every call that the model makes. Activations are plain tensors that
carry, beside their values, which of their dims is a *strip* of which axis. Most operations are local and only move
that note along; the few that reach across a border have a rule; what has no rule is refused.
"""
