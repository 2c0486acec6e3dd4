"""A PNG of charts and tables: everything is drawn, at a readable size, also without a font on the machine."""

import io

import pytest
from PIL import Image

from finetop.core.features.report import png as painting
from finetop.core.features.report.page import Chart, Line, Table
from finetop.core.features.report.png import ROWS_SHOWN, SCALE, WIDEST, png

BLUE = (0x0B, 0x5C, 0xAD)
CHART = Chart("loss", (Line("loss", (0, 50, 100), (3.0, 2.0, 1.0)),), 100, limit=2.5)


def opened(charts=(), tables=()):
    picture = Image.open(io.BytesIO(png(charts, tables)))
    picture.load()
    return picture


def is_near(pixel, colour):
    return all(abs(one - other) < 24 for one, other in zip(pixel, colour, strict=True))


def test_a_curve_is_where_the_svg_draws_it_at_twice_the_size():
    picture = opened([CHART])
    assert picture.size == (720 * SCALE, 264 * SCALE)
    middle = 56 + (720 - 56 - 12) / 2  # the plot's middle, where the curve is at 2.0
    column = [picture.getpixel((round(middle * SCALE), y)) for y in range(60 * SCALE, picture.height)]
    at = [60 + y / SCALE for y, pixel in enumerate(column) if is_near(pixel, BLUE)]
    assert at and abs(sum(at) / len(at) - (24 + 30 + (240 - 30 - 26) / 2)) < 3
    assert is_near(picture.getpixel((2, picture.height - 2)), (0xFD, 0xFD, 0xFC))


@pytest.mark.parametrize("fonts", [painting.FONTS, ("there-is-no-such-font.ttf",)], ids=["found", "built in"])
def test_text_is_written_with_whatever_font_there_is(monkeypatch, fonts):
    monkeypatch.setattr(painting, "FONTS", fonts)
    painting._font.cache_clear()
    table = Table(("run", "loss"), (("größe ✓ 中", "0.5"), ("\x1b]0;owned\x07\x1b[2Jx", "1e-05")), right=(1,))
    picture = opened([CHART], [table])
    painting._font.cache_clear()
    text = picture.crop((0, 264 * SCALE, picture.width, picture.height)).convert("L")
    assert text.getextrema()[0] < 80 and picture.height > 264 * SCALE + 3 * 20 * SCALE


def test_what_does_not_fit_is_counted_and_the_picture_stays_small():
    wide = Table(tuple(f"metric {at}" for at in range(400)), (("0.12345",) * 400,) * (ROWS_SHOWN + 700))
    assert painting._left_out(wide, 50) == "700 more rows and 350 more columns: save it as .csv for all."
    picture = opened([], [wide])
    assert picture.width < 1.1 * WIDEST * SCALE and picture.height < (ROWS_SHOWN + 4) * 25 * SCALE
