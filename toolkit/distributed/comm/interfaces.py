"""Network interfaces: which of them ranks listen on, so that nobody else can reach them."""

from __future__ import annotations

import fcntl
import socket
import struct
from pathlib import Path

from toolkit.errors import ToolkitError

LOOPBACKS = ("lo", "lo0")
SIOCGIFADDR = 0x8915
"""Linux's request for the IPv4 address of an interface."""


def only(interface: str) -> dict[str, str]:
    """The environment variables with which gloo and NCCL listen on one interface, and on no other.

    Without them they take an interface that others can reach, such as the one that the machine's name stands for.

    Args:
        interface: The name of the interface; empty: the loopback.
    """
    name = interface or next((name for _, name in socket.if_nameindex() if name in LOOPBACKS), "")
    return {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name} if name else {}


def towards(master: str, ranks: int, here: int | None) -> dict[str, str]:
    """The environment variables with which gloo and NCCL listen where the ranks of a launch reach each other.

    Left alone, they take the interface that the machine's name stands for, which on many machines is the loopback.

    Args:
        master: The address at which all ranks meet, as every host can reach it.
        ranks: Number of ranks.
        here: How many of them are on this host; None if that is not known.

    Raises:
        ToolkitError: If there are other hosts, and this one finds the address on its own loopback.
    """
    if here == ranks:
        return only("")
    # On the host that has the address, the route leads to the address itself, and so to the card that has it.
    mine = route_to(master)
    interface = interface_of(mine)
    if interface in LOOPBACKS and here is not None:
        raise ToolkitError(
            f"MASTER_ADDR={master} is this host's own loopback ({mine}), but {ranks - here} of the {ranks} ranks are "
            "on other hosts: give an address that all hosts reach, such as torchrun --master-addr 10.0.0.1, or set "
            "GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME to the interface."
        )
    return only(interface)


def interface_of(address: str) -> str:
    """The name of the interface of this machine that has an address.

    Raises:
        ToolkitError: If none has it.

    Example:
        >>> interface_of("127.0.0.1") in LOOPBACKS
        True
    """
    for _, name in socket.if_nameindex():
        if address in _addresses(name):
            return name
    raise ToolkitError(f"no network interface of this machine has the address {address}.")


def route_to(address: str, port: int = 9) -> str:
    """The address of this machine from which packets to another one leave.

    Raises:
        ToolkitError: If there is no route, or the name is unknown.

    Example:
        >>> route_to("127.0.0.1")
        '127.0.0.1'
    """
    try:
        family, kind, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(where)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        raise ToolkitError(f"{address} cannot be reached from this machine: {error}.") from error


def _addresses(name: str) -> list[str]:
    return [*_ipv4(name), *_ipv6(name)]


def _ipv4(name: str) -> list[str]:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            found = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
        return [socket.inet_ntoa(found[20:24])]
    except OSError:
        # It has no IPv4 address, or the system has another request for it.
        return ["127.0.0.1"] if name in LOOPBACKS else []


def _ipv6(name: str) -> list[str]:
    try:
        lines = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:
        return []
    return [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(line[0])) for line in lines if line[-1] == name]
