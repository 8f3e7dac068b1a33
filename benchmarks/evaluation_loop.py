"""What does the evaluation loop add to decoding, preprocessing and the session itself?

    python benchmarks/evaluation_loop.py model.onnx@openvino --data camvid:PATH@val

Two loops over the same images in turn (A B A B …): A decodes, preprocesses and runs the session,
one image after the other, and does nothing with the result; B is the evaluation (prefetching,
labels, confusion matrix, examples). Prints the medians and how much B takes more than A.
"""

from __future__ import annotations

import statistics
import time

import click

from segship.benchmark.accuracy import AccuracyRule, measure_accuracy
from segship.benchmark.candidate import parse_candidate
from segship.benchmark.subject import Subject
from segship.data.dataset import Dataset
from segship.data.loader import prepare
from segship.data.spec import open_dataset
from segship.runtimes.open import open_session


@click.command()
@click.argument("artifact")
@click.option("--data", required=True, help="Data specification.")
@click.option("--images", default=40, show_default=True)
@click.option("--rounds", default=7, show_default=True)
def main(artifact: str, data: str, images: int, rounds: int) -> None:
    """Time both loops and print the difference."""
    item = parse_candidate(artifact)
    with open_session(item.source, runtime=item.runtime, precision=item.precision) as session:
        dataset = open_dataset(data, contract=session.contract)
        subject = Subject("model", session, session.contract)
        bare, whole = [], []
        for _ in range(rounds):
            bare.append(bare_loop(subject, dataset, images))
            whole.append(evaluation(subject, dataset, images))
        name = f"{session.runtime} {session.precision}, {session.threads} threads"
    per_image = [1e3 * statistics.median(times) / images for times in (bare, whole)]
    click.echo(
        f"{name}: decode + preprocess + session {per_image[0]:.2f} ms, evaluation "
        f"{per_image[1]:.2f} ms per image: {100 * (per_image[1] / per_image[0] - 1):+.1f} %"
    )


def bare_loop(subject: Subject, dataset: Dataset, images: int) -> float:
    """Return the seconds of reading, preprocessing and running, without any use of the result."""
    started = time.perf_counter()
    for index in range(images):
        subject.session.run(prepare(dataset, index, subject.contract).pixels)
    return time.perf_counter() - started


def evaluation(subject: Subject, dataset: Dataset, images: int) -> float:
    """Return the seconds `segship evaluate` spends on the same images."""
    started = time.perf_counter()
    rule = AccuracyRule(limit=images)
    measure_accuracy([subject], dataset, palette=dataset.palette, rule=rule, progress=False)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
