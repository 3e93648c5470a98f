"""NCCL with several ranks on one card: for tests of what runs on many cards.

NCCL refuses two ranks on one device of one host. So each rank says that it is a host of its own, and messages pass
through sockets of the loopback interface. This shows whether the transfers are right, not how fast they are.
"""

from __future__ import annotations

import torch

from toolkit.errors import PlanError


def share_one_card(device: torch.device, ranks: int, backend: str) -> bool:
    """Whether ranks share a device on the device's own backend.

    Args:
        device: The device of the first rank.
        ranks: Number of ranks.
        backend: The backend that the user has asked for.

    Raises:
        PlanError: If they do, and the backend cannot.

    Example:
        >>> share_one_card(torch.device("cpu"), 4, "gloo")
        False
    """
    if device.type == "cpu" or backend == "gloo" or torch.accelerator.device_count() >= ranks:
        return False
    if backend != "nccl":
        raise PlanError(
            f"backend={backend!r} for {ranks} ranks on {torch.accelerator.device_count()} device(s): only gloo, and "
            "nccl for tests, let ranks share a device. Use as many ranks as devices, or leave out backend=."
        )
    return True


def settings(rank: int) -> dict[str, str]:
    """The environment variables with which a rank starts NCCL so.

    Example:
        >>> settings(1)["NCCL_HOSTID"]
        'toolkit-rank-1'
    """
    return {
        "NCCL_HOSTID": f"toolkit-rank-{rank}",
        # Ways that need ranks to be on different devices, or that would notice that they are on one host.
        "NCCL_P2P_DISABLE": "1",
        "NCCL_SHM_DISABLE": "1",
        "NCCL_IB_DISABLE": "1",
        "NCCL_NET": "Socket",
        "NCCL_SOCKET_IFNAME": "lo",
    }
