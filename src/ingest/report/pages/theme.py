"""Colours of the pages, light and dark, told apart by all common kinds of colour blindness.

The colours of marks are those of Okabe and Ito (2008), made darker or lighter until they stand out from the
background by 3 to 1, and text by 4.5 to 1 (WCAG 2.2, 1.4.11 and 1.4.3). In a chart's specification a colour stands as
`$name`; the page's script puts the colour of the theme in its place.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "panel": "#f4f6f8",
    "ink": "#16202b",
    "muted": "#4a5866",
    "line": "#c3ccd5",
    "accent": "#005a9c",
    "alert": "#a11c00",
    "alertpaper": "#fdf0ec",
    "blue": "#0072b2",
    "sky": "#2a8fc4",
    "orange": "#a86b00",
    "vermillion": "#d55e00",
    "green": "#008a65",
    "purple": "#a34d80",
    "grey": "#6b7a89",
    "band": "#dbe6ef",
}
DARK = {
    "paper": "#12171d",
    "panel": "#1b222a",
    "ink": "#e8edf2",
    "muted": "#aab7c4",
    "line": "#3b4855",
    "accent": "#7cc4f0",
    "alert": "#ffab91",
    "alertpaper": "#36201a",
    "blue": "#3d9bd6",
    "sky": "#7cc4f0",
    "orange": "#e69f00",
    "vermillion": "#f07f35",
    "green": "#2fbf96",
    "purple": "#d58ab4",
    "grey": "#8a99a8",
    "band": "#26323d",
}
THEMES = {"light": LIGHT, "dark": DARK}
MARKS = ("blue", "sky", "orange", "vermillion", "green", "purple", "grey")
"""Colours of marks on `paper`."""
RAMP = {"light": ["#eaf2f8", "#0b4f80"], "dark": ["#22303c", "#9bd3f5"]}
"""Ends of a scale of quantities, from little to much: `{"range": "ramp"}`."""


def variables() -> str:
    """The themes as CSS custom properties; light unless the reader prefers dark, and always light on paper."""
    light, dark = ("".join(f"--{name}:{colour};" for name, colour in theme.items()) for theme in (LIGHT, DARK))
    return (
        f":root{{color-scheme:light dark;{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )
