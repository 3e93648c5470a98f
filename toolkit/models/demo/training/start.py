"""The weights that the untrained video model begins with: close enough to a plain codec that an hour on a CPU helps."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKLWan
from torch import nn

from toolkit.models.diffusers_compat import wan_layers


@torch.no_grad()
def start(vae: AutoencoderKLWan) -> None:
    """Make the path around all blocks carry the picture: pooled, rotated in colour and enlarged, the blocks silent."""
    kinds = wan_layers()
    for net in (vae.encoder, vae.decoder):
        # RMS norms keep only the direction of a pixel. Next to a constant, brightness is a direction too.
        nn.init.constant_(net.conv_in.bias, 1.0)
        net.conv_in.bias[::2] *= -1
        net.mid_block.attentions[0].proj.weight.zero_()
    vae.encoder.conv_in.weight *= 2
    for layer in vae.modules():
        if isinstance(layer, kinds.WanCausalConv3d):
            # Single frames teach only the last tap; the earlier ones begin at zero.
            layer.weight[:, :, :-1] = 0
        if isinstance(layer, kinds.WanResidualBlock):
            layer.conv2.weight.zero_()
            if isinstance(layer.conv_shortcut, kinds.WanCausalConv3d):
                layer.conv_shortcut.weight[..., 0, 0, 0] = nn.init.orthogonal_(layer.conv_shortcut.weight[..., 0, 0, 0])
                layer.conv_shortcut.bias.zero_()
        if isinstance(layer, kinds.WanResample):
            _start_space(layer.resample[1])
            if hasattr(layer, "time_conv"):
                _start_time(layer.time_conv)


def _start_space(conv: nn.Conv2d) -> None:
    """Start a spatial resampling. Down: the mean of 2 x 2 pixels. Up: half the channels, each the mean of two."""
    conv.weight *= 0.1
    for channel in range(conv.out_channels):
        if conv.stride[0] == 2:
            conv.weight[channel, channel, :2, :2] += 0.25
        else:
            conv.weight[channel, 2 * channel : 2 * channel + 2, 1, 1] += 0.5


def _start_time(conv: Any) -> None:
    """Start a temporal resampling. Down: the mean of two frames. Up: the frame twice.

    A video is then treated as the stills that were learnt before.
    """
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    taps = (-1,) if conv.out_channels > conv.in_channels else (-2, -1)
    for channel in range(conv.out_channels):
        for tap in taps:
            conv.weight[channel, channel % conv.in_channels, tap] += 1 / len(taps)
