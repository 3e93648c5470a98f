"""A contact sheet: frames of the reference and of each output, and where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from toolkit.evidence.subjects import Subject
from toolkit.numerics.frame_pixels import pixels, reduced
from toolkit.numerics.metrics import frames as frames_of
from toolkit.plot.error_pixels import ErrorScale, encode, frame_error, pool

PAPER, INK = "#1B1B1B", "#DDDDDD"
"""Dark on every page: bright surroundings change how the colours of a picture look."""

GAP, LINE = 4, 20
SIZES = (256, 192, 128, 96)
"""Widths of a frame to try, largest first; the first that keeps the sheet small enough is used."""

MOST_BYTES = 400_000
MOST_FRAMES = 4


def chosen_frames(subjects: Sequence[Subject]) -> list[int]:
    """The first, middle and last frame, and the frame with the largest error."""
    tables = [subject.comparison.per_frame for subject in subjects if subject.comparison is not None]
    count = min(len(table) for table in tables)
    worst = max(tables, key=lambda table: float(table["max_abs"].fillna(np.inf).max()))
    spaced = np.linspace(0, count - 1, min(count, MOST_FRAMES - 1)).round().astype(int).tolist()
    return sorted({*spaced, int(worst["max_abs"].fillna(np.inf).argmax())})


def contact_sheet(subjects: Sequence[Subject], reference: str, *, frames: Sequence[int]) -> bytes:
    """Draw the sheet as JPEG: one row of frames for the reference, and two for each output that differs from it.

    Errors are amplified, blue below and red above the reference, on the scale of ``tk.plot.seams``.

    Args:
        subjects: The compared runs.
        reference: Name of the reference.
        frames: Frames to show, numbered in the order ``(b t)``.
    """
    for width in SIZES:
        sheet = _jpeg(_sheet(_rows(subjects, reference, frames=frames, width=width)))
        if len(sheet) <= MOST_BYTES:
            break
    return sheet


def _rows(
    subjects: Sequence[Subject], reference: str, *, frames: Sequence[int], width: int
) -> list[tuple[str, list[Image.Image]]]:
    compared = [subject.comparison for subject in subjects if subject.comparison is not None]
    target = compared[0].samples[1]
    numbers = ", ".join(map(str, frames))
    which = "frame" if len(frames) == 1 else "frames"
    rows = [(f"{reference}: the reference, {which} {numbers}", _pictures(target, frames, width=width))]
    for found in compared:
        rows.append((found.name, _pictures(found.samples[0], frames, width=width)))
        if found.identical:
            rows[-1] = (f"{found.name}: identical", rows[-1][1])
            continue
        errors = [pool(frame_error(found, frame, signed=True), _block(found.error, width)) for frame in frames]
        drawn, _ = encode(errors, ErrorScale(signed=True))
        pictures = [Image.open(BytesIO(data)).convert("RGB") for data in drawn]
        size = rows[0][1][0].size
        rows.append(("its difference, amplified", [one.resize(size, Image.Resampling.NEAREST) for one in pictures]))
    return rows


def _pictures(sample: Tensor, frames: Sequence[int], *, width: int) -> list[Image.Image]:
    block = _block(sample, width)
    shown = []
    for frame in (frames_of(sample)[number] for number in frames):
        small = reduced(frame, block)
        scale = max(width // small.shape[-1], 1)
        large = interpolate(small[None], scale_factor=scale, mode="nearest")[0]
        shown.append(Image.fromarray(pixels(large)))
    return shown


def _block(sample: Tensor, width: int) -> int:
    """The side of the block of pixels that becomes one pixel on the sheet."""
    return max(-(-sample.shape[-1] // width), 1)


def _sheet(rows: Sequence[tuple[str, list[Image.Image]]]) -> Image.Image:
    width, height = rows[0][1][0].size
    across = len(rows[0][1])
    sheet = Image.new("RGB", (across * (width + GAP) + GAP, len(rows) * (height + LINE + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=12)
    for place, (label, pictures) in enumerate(rows):
        top = GAP + place * (height + LINE + GAP)
        pen.text((GAP, top + 2), _fitting(label, sheet.width, font=font), fill=INK, font=font)
        for column, picture in enumerate(pictures):
            sheet.paste(picture, (GAP + column * (width + GAP), top + LINE))
    return sheet


def _fitting(label: str, width: int, *, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    while len(label) > 4 and font.getlength(label) > width - 2 * GAP:
        label = f"{label[:-4]}..."
    return label


def _jpeg(sheet: Image.Image) -> bytes:
    buffer = BytesIO()
    sheet.save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()
