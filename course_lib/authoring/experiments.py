"""The long experiments behind a lesson, whose results it shows and does not repeat: written to data/experiments/.

    python -m course_lib.authoring.experiments fusion         # lesson 04: all fusions and ablations, short regime
    python -m course_lib.authoring.experiments fusion_full    # all types of question, the pointers on five seeds
    python -m course_lib.authoring.experiments fusion_joint   # a plain joint transformer with more of everything

Every run is written as soon as it is done, and an interrupted table or run goes on where it stopped. All seeds that
were run are in it, none is left out. Always on the CPU, one thread: that is where everybody can repeat it.
"""

import argparse
import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from course_lib.authoring.checkpoints import machine
from course_lib.files import cache_folder, data_folder, write_atomically, write_manifest
from course_lib.models.recipes import fusion
from course_lib.pretrained import course
from course_lib.runtime import one_thread
from course_lib.training.loop import TrainingConfig

FOLDER = "experiments"
SEEDS = range(5)
Run = tuple[dict, Callable[[], dict]]


def fusion_short() -> tuple[dict, Iterator[Run]]:
    """Lesson 04's short regime: every fusion, and the pointers without each ingredient, five seeds each."""
    about = {
        "task": "colour, shape and spatial questions about two objects",
        **_made_by(fusion.SHORT, fusion.CONFIG, fusion.SHORT_MIX),
    }

    def runs() -> Iterator[Run]:
        train, test = fusion.short_data(), fusion.short_data("test")
        for seed in SEEDS:
            for name in fusion.FUSIONS:
                yield _run(name, {"without": "nothing"}, seed, train, test, fusion.SHORT, {"mix": fusion.SHORT_MIX})
            for removed, changes in fusion.ABLATIONS.items():
                if changes:
                    arguments = {"mix": fusion.SHORT_MIX} | changes
                    yield _run("pointers", {"without": removed}, seed, train, test, fusion.SHORT, arguments)

    return about, runs()


def fusion_full() -> tuple[dict, Iterator[Run]]:
    """Lesson 04's full regime: the pointers on five seeds, every other fusion on one."""
    about = {
        "task": "questions of all types about 1 to 4 objects",
        **_made_by(fusion.FULL, fusion.WIDE, fusion.MIX),
    }

    def runs() -> Iterator[Run]:
        train, test = fusion.question_data(), fusion.question_data(3000, 5, "test")
        for seed in SEEDS:
            yield _run("pointers", {"without": "nothing"}, seed, train, test, fusion.FULL, {"sizes": fusion.WIDE})
        for name in fusion.FUSIONS:
            if name != "pointers":
                yield _run(name, {"without": "nothing"}, 0, train, test, fusion.FULL, {"sizes": fusion.WIDE})

    return about, runs()


def fusion_joint() -> tuple[dict, Iterator[Run]]:
    """Lesson 04's short task for a plain joint transformer: three times the pictures, ten times the steps, and what
    might help it to relate, one change at a time."""
    steps, sizes = dataclasses.replace(fusion.SHORT, steps=4000, warmup_steps=200), fusion.CONFIG
    about = {
        "task": "colour, shape and spatial questions about two objects, 12,000 scenes",
        **_made_by(steps, sizes, fusion.SHORT_MIX),
    }
    slower = dataclasses.replace(steps, learning_rate=1e-3)
    deeper = dataclasses.replace(sizes, width=96, layers=4, mlp_width=192)
    changes = {
        "nothing": (steps, {}),
        "quieter positions": (steps, {"sizes": dataclasses.replace(sizes, position_std=0.02)}),
        "louder coordinates": (steps, {"sizes": dataclasses.replace(sizes, coordinate_scale=20.0)}),
        "more relations": (steps, {"mix": {"spatial": 0.8}}),
        "deeper and wider": (slower, {"sizes": deeper}),
        "more steps": (dataclasses.replace(slower, steps=12_000), {}),
    }

    def runs() -> Iterator[Run]:
        train, test = fusion.short_data(count=12_000), fusion.short_data("test")
        for changed, (config, arguments) in changes.items():
            arguments = {"mix": fusion.SHORT_MIX} | arguments
            yield _run("joint transformer", {"changed": changed}, 0, train, test, config, arguments)

    return about, runs()


def _run(name: str, what: dict, seed: int, train, test, config: TrainingConfig, arguments: dict) -> Run:
    key = {"fusion": name, **what, "seed": seed}
    resume_from = cache_folder() / f"experiment_{len(test)}_{'_'.join(map(str, key.values()))}.run".replace(" ", "_")

    def measure() -> dict:
        model, _ = fusion.train_fusion(name, train, seed, config, **arguments, resume_from=resume_from)
        scores = {kind: round(score, 4) for kind, score in fusion.accuracy_by_type(model, test).items()}
        parameters = sum(parameter.numel() for parameter in model.parameters())
        return {"parameters": parameters, **scores}

    return key, measure


def _made_by(config: TrainingConfig, sizes: fusion.FusionConfig, mix: dict[str, float]) -> dict:
    return {
        "training": dataclasses.asdict(config),
        "sizes": dataclasses.asdict(sizes),
        "mix": mix,
        "starts_from": course.load("vision")[2]["sha256"],
        "measured_on": machine().replace("2 threads", "1 thread"),
    }


EXPERIMENTS = {"fusion": fusion_short, "fusion_full": fusion_full, "fusion_joint": fusion_joint}


def make(name: str, folder: Path) -> None:
    """Writes `name`.json: what was run, with what, and a row for each run. Rows that are there already are kept."""
    path = folder / f"{name}.json"
    about, runs = EXPERIMENTS[name]()
    about = {"command": f"python -m course_lib.authoring.experiments {name}", **about}
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    rows = before.pop("runs", [])
    if before != json.loads(json.dumps(about)):
        rows = []
    for key, measure in runs:
        if any(row | key == row for row in rows):
            continue
        rows.append(key | measure())
        print(rows[-1], flush=True)
        lines = ",\n  ".join(json.dumps(row) for row in rows)
        head = json.dumps(about, indent=1)[:-2]
        write_atomically(path, f'{head},\n "runs": [\n  {lines}\n ]\n}}\n')


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the long experiments behind the lessons again.")
    parser.add_argument("which", nargs="*", choices=[*EXPERIMENTS, []], help="default: all")
    os.environ["COURSE_DEVICE"] = "cpu"
    folder = data_folder() / FOLDER
    folder.mkdir(exist_ok=True)
    for name in parser.parse_args().which or EXPERIMENTS:
        with one_thread():
            make(name, folder)
        write_manifest()


if __name__ == "__main__":
    main()
