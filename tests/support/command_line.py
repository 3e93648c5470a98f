"""What tests of the command line share."""

from __future__ import annotations

LATENT = (1, 4, 7, 9)
