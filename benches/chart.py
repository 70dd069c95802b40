"""One chart of a comparison as SVG: a bar for each contender with a small caller, a mark where a large caller ends."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

WIDTH = 860
LABEL_WIDTH = 300
VALUE_WIDTH = 150
ROW = 26
BAR = 14
TOP = 64
BOTTOM = 54
TEXT, FAINT = "#57606a", "#d0d7de"
COLOURS = {"floor": "#8c959f", "library": "#0969da", "command": "#218bff", "python": "#8c959f"}
RIVAL = "#bf8700"
STEPS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)
"""Distances of grid lines in milliseconds; the first that needs at most MOST_LINES is taken."""
MOST_LINES = 8


def svg(result: dict[str, Any]) -> str:
    """The chart of what compare.py wrote as JSON."""
    smallest = min(entry["ballast_mib"] for entry in result["results"])
    bars = [entry for entry in result["results"] if entry["ballast_mib"] == smallest]
    large = {entry["name"]: entry for entry in result["results"] if entry["ballast_mib"] != smallest}
    longest = max(entry["median_usec"] for entry in result["results"]) / 1000
    step = next((step for step in STEPS if longest / step <= MOST_LINES), STEPS[-1])
    scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / longest
    height = TOP + ROW * len(bars) + BOTTOM
    host = result["host"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}">',
        "<title>What one container costs, in milliseconds</title>",
        text(12, 24, "What one container costs: true in the default spec of pyrt spec", size=16),
        text(
            12,
            44,
            f"median milliseconds of {result['iterations']} interleaved rounds, Linux {host['kernel']}, {host['processors']} processors",
        ),
    ]
    for number in range(int(longest / step) + 1):
        x = LABEL_WIDTH + number * step * scale
        lines.append(f'<path d="M{x:.1f} {TOP - 6}V{height - BOTTOM + 4}" stroke="{FAINT}"/>')
        lines.append(text(x, height - BOTTOM + 20, f"{number * step:g}", anchor="middle"))
    for row, entry in enumerate(bars):
        y = TOP + row * ROW
        end = LABEL_WIDTH + entry["median_usec"] / 1000 * scale
        colour = COLOURS.get(entry["group"], RIVAL)
        lines.append(text(LABEL_WIDTH - 10, y + BAR, entry["name"], anchor="end"))
        lines.append(f'<rect x="{LABEL_WIDTH}" y="{y + 2}" width="{end - LABEL_WIDTH:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
        times = "" if entry["ratio_to_floor"] is None else f" ({entry['ratio_to_floor']:.1f} x floor)"
        label = end
        if entry["name"] in large:
            milliseconds = large[entry["name"]]["median_usec"] / 1000
            mark = LABEL_WIDTH + milliseconds * scale
            lines.append(f'<path d="M{mark:.1f} {y}v{BAR + 4}" stroke="{TEXT}" stroke-width="2"/>')
            if mark - end < VALUE_WIDTH:
                label = max(end, mark)
            else:
                lines.append(text(mark + 8, y + BAR, f"{milliseconds:.2f}"))
        lines.append(text(label + 8, y + BAR, f"{entry['median_usec'] / 1000:.2f}{times}"))
    if large:
        mib = next(iter(large.values()))["ballast_mib"]
        lines.append(text(12, height - 10, f"bar: from a small caller · line: the same from one with {mib:,} MiB resident"))
    return "\n".join([*lines, "</svg>", ""])


def text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
