"""Tables in Markdown."""

import re

import pandas as pd


def table(frame, corner=""):
    """A DataFrame as a table; its index names the rows, and missing values are "-"."""
    lines = [[corner, *frame.columns], ["---", *["--:"] * len(frame.columns)]]
    lines += [[name, *row] for name, row in zip(frame.index, frame.to_numpy(object), strict=True)]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value):
    return "-" if pd.isna(value) else str(value).replace("|", "\\|")


def spread(values, factor=1.0):
    """Mean and standard deviation of a Series, such as "71.2 ± 0.3"; missing if all values are."""
    known = values.dropna() * factor
    if known.empty:
        return None
    deviation = f" ± {known.std(ddof=1):.1f}" if len(known) > 1 else ""
    return f"{known.mean():.1f}{deviation}"


def source(rows, runs):
    """Where rows come from: command, commit and machine of their runs, in one line."""
    texts = []
    for _, run in runs[runs["run"].isin(rows["run"])].astype(object).fillna("").iterrows():
        # what an older run was of stands in brackets at the end, outside of quotes
        options, note = re.fullmatch(r"((?:'.*'|[^(])*)(\(.*)?", run["options"]).groups()
        command = f"python -m benchmarks run {run['experiment']} {options}".strip()
        text = f"`{command}`{f' {note}' if note else ''} at {run['commit']}"
        texts.append(f"{text}, {run['cores']} cores of {run['device']}")
    return "; ".join(dict.fromkeys(texts)) + "."
