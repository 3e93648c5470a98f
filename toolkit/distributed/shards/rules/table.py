"""The table of rules: what each operation of torch does to shards, by its name.

One name covers the function and the method: ``torch.add(x, y)``, ``x.add(y)`` and, as ``__add__``, ``x + y``.
"""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.distributed.shards.rules import (
    attention,
    convolutions,
    local,
    norms,
    padding,
    products,
    randomness,
    reductions,
    resampling,
    views,
    windows,
)
from toolkit.distributed.shards.rules import masks as frame_masks
from toolkit.distributed.shards.shard import Rule

# Rules by family, with the names of the operations that they serve. Before you add an operation, look at what it does
# at the border between two ranks.
_FAMILIES: Mapping[Rule, str] = {
    local.elementwise: """
        add sub mul div true_divide floor_divide rsub pow neg abs exp sqrt rsqrt square sin cos erf log tanh sigmoid
        add_ sub_ mul_ div_ neg_ pow_ exp_ sqrt_ __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__
        __imul__ __truediv__ __rtruediv__ __itruediv__ __rdiv__ __div__ __pow__ __neg__ __abs__
        clamp clamp_ clamp_min clamp_max clip where lerp addcmul addcdiv maximum minimum nan_to_num
        silu silu_ relu relu_ relu6 gelu elu mish softplus hardswish hardtanh hardsigmoid leaky_relu logical_not
        logical_and logical_or eq ne gt lt ge le __eq__ __ne__ __gt__ __lt__ __ge__ __le__ isnan isfinite""",
    local.like_first: """
        clone contiguous to float half double bfloat16 type type_as detach zeros_like ones_like full_like empty_like
        requires_grad_ cpu cuda identity alias""",
    local.plain: """
        size dim numel nelement stride storage_offset is_contiguous is_floating_point is_complex __len__ element_size
        data_ptr ndimension get_device __hash__ __repr__ __format__ new_zeros new_ones new_empty new_full new_tensor
        is_tensor is_pinned untyped_storage is_same_size result_type""",
    local.getter: "__get__",
    views.view: """
        permute transpose transpose_ movedim moveaxis swapaxes swapdims squeeze unsqueeze select narrow chunk split
        tensor_split unbind expand expand_as broadcast_to t""",
    views.index: "__getitem__",
    views.reshape: "reshape view flatten unflatten view_as reshape_as",
    views.join: "cat concat concatenate",
    views.pile: "stack",
    views.repeat: "repeat repeat_interleave tile",
    views.write: "__setitem__",
    views.copy_into: "copy_",
    convolutions.convolution: "conv1d conv2d conv3d",
    windows.transposed: "conv_transpose1d conv_transpose2d conv_transpose3d",
    windows.pool: "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d",
    padding.pad: "pad",
    norms.group: "group_norm",
    norms.by_channel: "layer_norm rms_norm",
    norms.batch: "batch_norm",
    reductions.along: """
        sum mean norm normalize softmax log_softmax var std amax amin argmax argmin logsumexp linalg_norm
        linalg_vector_norm vector_norm""",
    products.linear: "linear cdist",
    products.lookup: "embedding",
    products.matmul: "matmul bmm __matmul__",
    products.baddbmm: "baddbmm",
    attention.attention: "scaled_dot_product_attention",
    frame_masks.meshgrid: "meshgrid",
    resampling.interpolate: "interpolate",
    resampling.shuffle: "pixel_shuffle pixel_unshuffle",
    randomness.draw: "randn rand",
    randomness.draw_like: "randn_like rand_like",
    randomness.dropout: "dropout dropout2d dropout3d",
}

RULES: Mapping[str, Rule] = {name: rule for rule, names in _FAMILIES.items() for name in names.split()}
"""The rules by the name of the function. A run may be given more: ``rules={...}``."""

NAMED: Mapping[tuple[str, str], Rule] = {("normalize", "vecdot"): reductions.normalize_by_vecdot}
"""Rules that change last bits, by function and name. A call asks for one: ``rules={"normalize": "vecdot"}``."""

NEEDS_STRIPS = frozenset(
    [
        "conv2d",
        "conv3d",
        "group_norm",
        "scaled_dot_product_attention",
        "interpolate",
        "pixel_shuffle",
        "pixel_unshuffle",
    ]
)
"""Operations of maps. If their tensor has no strips, a strip was lost on the way and the result would be wrong."""

EARLY = frozenset(["conv2d", "conv3d"])
"""Operations that may begin while rows of their input are still under way."""

WATCHED = frozenset(["meshgrid"])
"""Operations whose rules also see tensors without strips."""

TENSOR_ATTRIBUTES = frozenset(["data", "grad", "real", "imag", "T", "mT", "H", "mH"])
"""Attributes of tensors that are tensors; the others are facts about the local tensor, such as its shape."""

RANDOM = frozenset(["randn", "rand", "normal", "randint", "randperm", "bernoulli", "normal_", "uniform_", "bernoulli_"])
"""Sources of random numbers. Those without a rule are refused, also for tensors without strips."""
