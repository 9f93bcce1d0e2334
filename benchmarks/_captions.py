"""How results were trained and computed, in words."""

from collections import Counter

from skanomaly.encoders._self_supervised import COLLAPSED


def title(setting):
    """How results of a setting (see `settings_of`) were trained."""
    values = {name: value for name, value in setting.items() if value is not None}
    names = {
        "backbone": "{}",
        "epochs": "{} epochs",
        "minutes": "{:g} minutes",
        "batch_size": "batches of {}",
        "learning_rate": "learning rate {:g}",
        "train_images": "{:,} training images",
        "test_images": "{:,} test images of each class",
        "image_size": "images of {} pixels",
    }
    parts = [text.format(values[name]) for name, text in names.items() if name in values]
    whole = {"train_images": "all training images", "test_images": "all test images"}
    parts += [text for name, text in whole.items() if name not in values]
    return ", ".join(parts)


def caption(setting, results):
    """How and where results were computed, in one line."""
    devices, commits = (sorted({r[name] for r in results}) for name in ("device", "commit"))
    most = max(r["counts"]["outliers"] for r in results)
    with_outliers = f", and up to {most:,} outliers among them" if most else ""
    seconds = sum(r["seconds"] for r in results) / len(results)
    collapsed = Counter(
        r["cell"].method
        for r in results
        if r.get("training") and r["training"]["embedding_std"] < COLLAPSED
    )
    text = (
        f"**{title(setting)}**{with_outliers}. {len(results)} results, of {seconds:.0f} s on "
        f"average, on {', '.join(devices)}; commit {', '.join(commits)}."
    )
    if collapsed:
        named = ", ".join(f"{n} of {method}" for method, n in collapsed.items())
        text += f" Embeddings collapsed to one direction: {named}."
    return text + "\n"
