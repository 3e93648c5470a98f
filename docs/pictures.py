"""Draw the pictures of the first page and of the tour, for light and dark pages; those of the tour are of its own runs.

python docs/pictures.py
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any, get_args

from PIL import Image

import toolkit as tk
from toolkit.plot.theme import THEMES, ThemeName

HERE = Path(__file__).parent
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main() -> None:
    """Write all pictures to the folder ``_static``."""
    plan, run, comparison = video_by_tiles()
    tour = names_of_the_tour()
    for theme in get_args(ThemeName)[1:]:
        tiles = picture(tk.plot.ranks(plan, theme=theme), 410, 370, "16 tiles on 2 ranks")
        seams = picture(tk.plot.seams(comparison, frame=8, theme=theme), 460, 370, "error against the whole decode")
        time = picture(tk.plot.timeline(run, theme=theme), 870, 190, "what each rank did")
        save("first", theme, [[tiles, seams], [time]])
        save("tour-plan", theme, [[picture(tk.plot.ranks(tour["tiles"], theme=theme), 700, 400)]])
        time = picture(tk.plot.timeline(tour["run"], theme=theme), 870, 250)
        memory = picture(tk.plot.memory(tour["run"], theme=theme), 870, 320)
        save("tour-run", theme, [[time], [memory]])
        save("tour-seams", theme, [[picture(tk.plot.seams(tour["close"], theme=theme), 700, 420)]])
        save("tour-schedule", theme, [[picture(tk.plot.schedule(tour["video"], theme=theme), 870, 280)]])


def video_by_tiles() -> tuple[tk.TilePlan, tk.Run, tk.Comparison]:
    """The demo video in 16 tiles, and its comparison with the whole decode."""
    vae, latent = tk.demo.video_vae(), tk.demo.latents("video")
    grid = tk.TileGrid.cover({"h": 32, "w": 32}, tile=9, overlap=1)
    plan = tk.TilePlan(grid, tk.Blend.linear(), tk.Assignment.balanced(grid, ranks=2))
    with tk.Cluster(ranks=2, device="cpu") as cluster:
        whole, run = (cluster.decode(vae, latent, one, progress=False) for one in (None, plan))
    return plan, run, tk.compare(run, whole, name="tiles", reference_name="the whole decode")


def names_of_the_tour() -> dict[str, Any]:
    """What the code of the tour has defined when it has run, in a folder of its own."""
    names: dict[str, Any] = {"__name__": "__main__"}
    code = FENCE.findall((HERE / "tour.md").read_text())
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for block in code:
            # The sweep looks up the source of its function, which only a file has.
            Path(folder, "tour.py").write_text(block)
            exec(compile(block, str(Path(folder, "tour.py")), "exec"), names)
        os.chdir(before)
    return names


def picture(figure: tk.plot.Figure, width: int, height: int, title: str | None = None) -> Image.Image:
    """A figure in a size, and with a shorter title if there is one."""
    figure.update_layout(width=width, height=height, title_text=title or figure.layout.title.text)
    return Image.open(io.BytesIO(figure.to_png())).convert("RGB").resize((width, height))


def save(name: str, theme: ThemeName, rows: list[list[Image.Image]]) -> None:
    """Write rows of pictures as one file."""
    width = max(sum(one.width for one in row) for row in rows)
    page = Image.new("RGB", (width, sum(row[0].height for row in rows)), THEMES[theme].paper)
    top = 0
    for row in rows:
        left = 0
        for one in row:
            page.paste(one, (left, top))
            left += one.width
        top += row[0].height
    page.quantize(128).save(HERE / "_static" / f"{name}-{theme}.png", optimize=True)


if __name__ == "__main__":
    main()
