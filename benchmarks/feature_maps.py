"""AUROC of every feature map with every score: the rows of the paper's Tables 6 to 8, in small.

    python benchmarks/feature_maps.py --data ../shared/data [--objective simsiam]

Two classes of Fashion-MNIST and two of CIFAR-10, 1,500 training images each; trained encoders
beside untrained ones of the same seeds. About 25 minutes on two cores. Tables 6 and 7 are of
simsiam, Table 8 is of simclr. Writes results/feature_maps.json, or feature_maps_simsiam.json;
--small is a quick check that writes nothing. The data folder has a load.py that reads it.
"""

import argparse

from _one_class import add_arguments, describe_tasks, print_table, repeat, summarize
from _report import write_report
from _scores import COLUMNS, auroc_of_maps

from skanomaly import SelfSupervisedEncoder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--objective", choices=("simclr", "simsiam"), default="simclr")
    add_arguments(parser)
    args = parser.parse_args()
    epochs = {"trained": 1 if args.small else 50, "untrained": 0}

    def evaluate_both(seed, train, *test):
        figures = {}
        for name, n in epochs.items():
            encoder = SelfSupervisedEncoder(
                args.objective, layers="all", max_map_width=512, max_epochs=n, random_state=seed
            )
            cells = auroc_of_maps(encoder.fit(train), train, *test)
            figures |= {(name, *cell): auroc for cell, auroc in cells.items()}
        return figures

    tables = {name: {} for name in epochs}
    for (name, row, column), values in repeat(evaluate_both, args).items():
        tables[name].setdefault(row, {})[column] = summarize(values)
    for name, table in tables.items():
        rows = {row: cells.values() for row, cells in table.items()}
        print_table(f"{args.objective}, {name}", COLUMNS, rows)
    if not args.small:
        suffix = "" if args.objective == "simclr" else f"_{args.objective}"
        report = {"objective": args.objective, **describe_tasks(args), "auroc": tables}
        write_report(f"feature_maps{suffix}", report)


if __name__ == "__main__":
    main()
