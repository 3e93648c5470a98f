"""``agent``: let a cluster of another machine have ranks on this one."""

from __future__ import annotations

import argparse
import signal
import sys
from threading import Event

from toolkit.cli.values import amount, count
from toolkit.cluster.engines.hosts.calling import parse_address, serve_kernels
from toolkit.cluster.engines.hosts.encrypted import agents_context
from toolkit.cluster.engines.hosts.handshake import read_key, write_key
from toolkit.cluster.engines.hosts.host import About
from toolkit.errors import PlanError


def add_to(command: argparse.ArgumentParser) -> None:
    """Add the command's options to its parser."""
    command.add_argument(
        "address", nargs="?", metavar="HOST:PORT", help="where the cluster listens: the kernel's machine"
    )
    command.add_argument(
        "--key-file", metavar="FILE", help="the key of the cluster, readable by you alone; -: from the standard input"
    )
    command.add_argument("--slots", type=count, default=1, help="ranks that this machine takes (default: %(default)s)")
    command.add_argument(
        "--patience",
        type=amount,
        default=600.0,
        help="seconds without a cluster after which the agent ends (default: %(default)s)",
    )
    command.add_argument("--certificate", metavar="FILE", help="talk by TLS to a cluster that shows this certificate")
    command.add_argument("--name", help="what this machine is called in records (default: its host name)")
    command.add_argument("--once", action="store_true", help="end with the first cluster")
    command.add_argument("--new-key", metavar="FILE", help="make a key file, and do nothing else")
    command.set_defaults(everywhere=True, run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.new_key is not None:
        print(f"wrote {write_key(options.new_key)}: copy it to every host, readable by you alone")
        return 0
    if options.address is None or options.key_file is None:
        raise PlanError("agent: give HOST:PORT and --key-file FILE, or --new-key FILE to make a key.")
    address, ending = parse_address(options.address), Event()
    key = sys.stdin.buffer.read().strip() if options.key_file == "-" else read_key(options.key_file)
    for number in (signal.SIGTERM, signal.SIGINT):
        # An exception in the middle of anything would leave the rest of it undone.
        signal.signal(number, lambda number, frame: ending.set())
    about = About.here(options.slots, name=options.name)
    tls = None if options.certificate is None else agents_context(options.certificate)
    serve_kernels(address, key, about, patience=options.patience, once=options.once, tls=tls, ending=ending, say=_say)
    return 0


def _say(text: str) -> None:
    print(f"agent: {text}", flush=True)
