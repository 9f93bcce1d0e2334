"""Tables in Markdown."""


def table(columns, rows, corner=""):
    """A table as text; `rows` have a name and a cell for each column, or fewer cells."""
    width = 1 + len(columns)
    lines = [[corner, *columns], ["---", *["--:"] * len(columns)], *rows]
    return "\n".join(_line([*line, *[""] * (width - len(line))]) for line in lines)


def _line(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
