"""
A table with strings, dates and gaps
====================================

:func:`~skanomaly.make_table_pipeline` takes data frames as they are. It needs skrub:
``pip install 'skanomaly[tables]'``.

The orders are made up. Each city has its own price level, and some prices are missing.
"""

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
price_level = {"Oslo": 90.0, "Rome": 40.0, "Lima": 15.0}


def draw_orders(n):
    frame = pd.DataFrame({"city": rng.choice(list(price_level), n)})
    frame["price"] = frame["city"].map(price_level) * rng.normal(1, 0.1, n)
    frame.loc[rng.random(n) < 0.05, "price"] = np.nan
    frame["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 365, n), unit="D")
    frame["paid"] = rng.random(n) < 0.8
    return frame


orders, new = draw_orders(1000), draw_orders(200)
orders.head()

# %%
# Three of the new orders are strange: a city that has never been seen, a price of another city,
# and a day of another year.

new.loc[0, "city"] = "Bern"
new.loc[1, ["city", "price"]] = "Lima", 90.0
new.loc[2, "day"] = pd.Timestamp("2031-05-01")

from skanomaly import make_table_pipeline

pipeline = make_table_pipeline().fit(orders)
new["score"] = pipeline.score_samples(new)
new.sort_values("score").head(6)

# %%
# What has become of the columns, and which training orders are nearest? For what a Pipeline does
# not pass on, call its two parts.

columns = pipeline[:-1].transform(new.drop(columns="score"))
print(*pipeline[:-1].get_feature_names_out(), sep=", ")
pipeline[-1].predict_frame(columns).head(3)

# %%
# The training orders are scored leave-one-out. The strange ones lie far below the threshold.

from skanomaly.plotting import ScoreDisplay

ScoreDisplay.from_estimator(pipeline[-1], columns)
