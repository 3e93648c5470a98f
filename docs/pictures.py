"""Draw the picture of the first page, light and dark: a plan, the error of its seams, and where the time went.

python docs/pictures.py
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import get_args

from PIL import Image

import toolkit as tk
from toolkit.plot.theme import THEMES, ThemeName

FOLDER = Path(__file__).parent / "_static"


def main() -> None:
    """Decode the demo video by tiles, and write ``first-light.png`` and ``first-dark.png``."""
    vae, latent = tk.demo.video_vae(), tk.demo.latents("video")
    grid = tk.TileGrid.cover({"h": 32, "w": 32}, tile=9, overlap=1)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks=2))
    with tk.Cluster(ranks=2, device="cpu") as cluster:
        whole, run = (cluster.decode(vae, latent, one, progress=False) for one in (None, plan))
    comparison = tk.compare(run, whole, name="tiles", reference_name="the whole decode")
    for theme in get_args(ThemeName)[1:]:
        above = [_picture(tk.plot.ranks(plan, theme=theme), 410, 370, "16 tiles on 2 ranks")]
        above += [_picture(tk.plot.seams(comparison, frame=8, theme=theme), 460, 370, "error against the whole decode")]
        below = _picture(tk.plot.timeline(run, theme=theme), 870, 190, "what each rank did")
        page = Image.new("RGB", (870, 560), THEMES[theme].paper)
        page.paste(above[0], (0, 0))
        page.paste(above[1], (410, 0))
        page.paste(below, (0, 370))
        page.quantize(128).save(FOLDER / f"first-{theme}.png", optimize=True)


def _picture(figure: tk.plot.Figure, width: int, height: int, title: str) -> Image.Image:
    figure.update_layout(width=width, height=height, title_text=title)
    return Image.open(io.BytesIO(figure.to_png())).convert("RGB").resize((width, height))


if __name__ == "__main__":
    main()
