"""Draw the picture of the README: a plan, and the seams that a narrower and a wider overlap leave."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

import toolkit as tk


def main(path: Path) -> None:
    """Decode the demo video by two plans and write the picture to ``path``."""
    vae, latent = tk.demo.video_vae(), tk.demo.latents("video")
    extent = {"h": latent.shape[-2], "w": latent.shape[-1]}
    figures = []
    with tk.Cluster(ranks=2, device="cpu") as cluster:
        whole = cluster.decode(vae, latent)
        for tile, overlap in ((9, 1), (12, 4)):
            grid = tk.TileGrid.cover(extent, tile, overlap)
            plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks=2))
            run = cluster.decode(vae, latent, plan)
            comparison = tk.compare(run, whole, name=f"overlap {overlap}", reference_name="the untiled decode")
            figures += [] if figures else [tk.plot.ranks(plan, theme="light")]
            figures += [tk.plot.seams(comparison, frame=8, theme="light")]
    pictures = [Image.open(io.BytesIO(figure.to_png())).convert("RGB") for figure in figures]
    height = 520
    pictures = [picture.resize((picture.width * height // picture.height, height)) for picture in pictures]
    strip = Image.new("RGB", (sum(picture.width for picture in pictures), height), "white")
    left = 0
    for picture in pictures:
        strip.paste(picture, (left, 0))
        left += picture.width
    strip.save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
