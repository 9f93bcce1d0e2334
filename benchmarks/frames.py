"""Experiment on frames with numbers, strings, dates and gaps."""

import time

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from skanomaly import make_table_pipeline

N_ROWS, ANOMALY_SHARE = 20_000, 0.02
DAY, START = pd.Timedelta(days=1), pd.Timestamp("2024-01-01")
COUNTRIES = np.array(["de", "fr", "it", "es", "uk"])
WORDS = np.array(["red", "blue", "small", "large", "chair", "table", "lamp", "bed", "box", "of"])
GAPPY = ["degrees", "items", "plan", "member", "delivered"]
KINDS = ("number", "city in another country", "order 500 days on", "delivery 60 days late")
METHODS = {
    "make_table_pipeline()": lambda seed: None,
    "make_table_pipeline(IsolationForest())": lambda seed: IsolationForest(random_state=seed),
}


def frames(options, records):
    """AUROC of made-up frames with anomalies of four kinds, which show in columns of all kinds.

    20,000 rows of 15 columns without anomalies are fitted, as many others of which 2% are anomalies
    are scored: a number at 7 standard deviations, a city in another country, an order 500 days on,
    and a delivery 60 days late, which shows in the difference of two dates only. Needs skrub. A
    minute on two cores.
    """
    n_rows = 400 if options.small else N_ROWS
    for seed in range(options.seeds or 1):
        train, test = make_frame(n_rows, 2 * seed), make_frame(n_rows, 2 * seed + 1)
        kinds = add_anomalies(test, np.random.default_rng(seed))
        for method, make in METHODS.items():
            if not records.has(method=method, seed=seed):
                rows = evaluate(make_table_pipeline(make(seed)), train, test, kinds)
                records.add_all([{"method": method, "seed": seed, **row} for row in rows])


def make_frame(n_rows, seed):
    """Columns of all kinds; the country follows from the city, the delivery from the order."""
    rng = np.random.default_rng(seed)
    city = rng.choice(20, n_rows, p=np.arange(20, 0, -1) / 210)
    size = rng.normal(size=n_rows)
    ordered = START + rng.uniform(0, 365, n_rows) * DAY
    frame = pd.DataFrame(
        {
            "height": size + rng.normal(size=n_rows) / 2,
            "weight": size + rng.normal(size=n_rows) / 2,
            "amount": rng.lognormal(size=n_rows),
            "degrees": rng.normal(20, 5, n_rows),
            "pressure": rng.gamma(3, size=n_rows),
            "speed": rng.uniform(0, 100, n_rows),
            "items": pd.array(rng.poisson(3, n_rows), dtype="Int64"),
            "city": np.char.add("city ", city.astype(str)),
            "country": COUNTRIES[city % len(COUNTRIES)],
            "plan": pd.Categorical(rng.choice(["basic", "plus", "pro"], n_rows)),
            "member": pd.array(rng.random(n_rows) < 0.3, dtype="boolean"),
            "express": rng.random(n_rows) < 0.2,
            "note": [" ".join(words) for words in WORDS[rng.integers(10, size=(n_rows, 4))]],
            "ordered": ordered,
            "delivered": ordered + rng.gamma(4, 1, n_rows) * DAY,
        }
    )
    for name in GAPPY:
        frame.loc[rng.random(n_rows) < 0.05, name] = None
    return frame


def add_anomalies(frame, rng):
    """Change some rows; for each row its kind of anomaly, or ""."""
    kinds = np.full(len(frame), "", dtype=object)
    rows = rng.permutation(len(frame))[: round(ANOMALY_SHARE * len(frame))]
    number, combination, order, delivery = parts = np.array_split(rows, len(KINDS))
    for kind, part in zip(KINDS, parts, strict=True):
        kinds[part] = kind
    for i, column in enumerate(["height", "degrees", "pressure"]):
        frame.loc[number[i::3], column] = frame[column].mean() + 7 * frame[column].std()
    other = dict(zip(COUNTRIES, np.roll(COUNTRIES, 1), strict=True))
    frame.loc[combination, "country"] = frame["country"][combination].map(other)
    frame.loc[order, ["ordered", "delivered"]] += 500 * DAY
    frame.loc[delivery, "delivered"] += 60 * DAY
    return kinds


def evaluate(pipeline, train, test, kinds):
    """A row for each kind of anomaly and for all, the last one with seconds."""
    start = time.perf_counter()
    pipeline.fit(train)
    fitted = time.perf_counter()
    scores = pipeline.score_samples(test)
    seconds = {"fit_seconds": fitted - start, "score_seconds": time.perf_counter() - fitted}
    for kind in (*KINDS, "all"):
        chosen = np.isin(kinds, ["", kind]) if kind != "all" else np.ones(len(kinds), bool)
        auroc = roc_auc_score(kinds[chosen] != "", -scores[chosen])
        row = {"kind": kind, "auroc": round(100 * auroc, 2)}
        yield row | (seconds if kind == "all" else {})
