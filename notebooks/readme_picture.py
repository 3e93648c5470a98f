"""Draw the moving picture of the README: a decode by tiles on two ranks, replayed."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

import toolkit as tk

MOMENTS, MILLISECONDS, COLOURS, BELOW = 32, 160, 48, 90


def main(path: Path) -> None:
    """Decode the demo video by tiles on two ranks, and write the replay to ``path``."""
    vae, latent = tk.demo.video_vae(), tk.demo.latents("video")
    grid = tk.TileGrid.cover({"h": 32, "w": 32}, tile=9, overlap=1)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks=2))
    with tk.Cluster(ranks=2, device="cpu") as cluster:
        cluster.decode(vae, latent, plan, progress=False)
        run = cluster.decode(vae, latent, plan, progress=False)
    figure = tk.plot.replay(run, moments=MOMENTS, theme="light")
    pictures = [picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE) for picture in moments(figure)]
    first, *rest = pictures
    last = 12 * MILLISECONDS
    first.save(
        path, save_all=True, append_images=rest, duration=[MILLISECONDS] * len(rest) + [last], loop=0, optimize=True
    )


def moments(figure: tk.plot.Figure) -> list[Image.Image]:
    """Each frame of the figure, drawn as its still."""
    drawn = []
    for frame in figure.frames:
        for place, trace in zip(frame.traces, frame.data, strict=True):
            figure.data[place].update(trace.to_plotly_json())
        picture = Image.open(io.BytesIO(figure.to_png())).convert("RGB")
        # Below are the slider and its buttons, of which a still has nothing.
        drawn.append(picture.crop((0, 0, picture.width, picture.height - BELOW)))
    return drawn


if __name__ == "__main__":
    main(Path(sys.argv[1]))
