"""Trains the course's embedded checkpoints again: `make checkpoints`.

    python -m course_lib.authoring.checkpoints            # the vision backbone, what stands on it, the GPT
    python -m course_lib.authoring.checkpoints clip       # one of them
    python -m course_lib.authoring.checkpoints seeds      # the recipes of lesson 06 on ten seeds: what its thresholds
    rest on

Same command, same machine, same hash. Another processor sums in another order and gives other last bits, so its weights
have another hash and nearly the same results. Always on the CPU: that is where everybody can repeat it.
"""

import argparse
import dataclasses
import json
import os
import platform
import statistics
from pathlib import Path

import torch

from course_lib.data.microworld import VOCABULARY
from course_lib.data.transforms import HALF_MEAN, HALF_STD
from course_lib.files import cache_folder, data_folder, write_atomically, write_manifest
from course_lib.models.recipes import clip, language, vision
from course_lib.pretrained import course
from course_lib.runtime import THREADS
from course_lib.training.checkpoints import save_checkpoint
from course_lib.training.loop import TrainingConfig

# Longer than in the lesson: what later lessons start from may take some minutes, once.
VISION = dataclasses.replace(vision.DENSE_VISION, steps=2000)
VISION_PICTURES = 24_000
VIT = vision.DISTILLED_VIT
VIT_PICTURES = 24_000
LANGUAGE = dataclasses.replace(language.LANGUAGE, steps=1000)
LANGUAGE_SCENES = 8000
CLIP = dataclasses.replace(clip.FROM_VISION, steps=900)
CLIP_PICTURES = 24_000
CLIP_PICTURES_SEED = 2
SEEDS = range(10)
SEEDS_FILE = "seeds.json"


def train_vision(folder: Path) -> None:
    """Writes vision.safetensors and vision.json."""
    model, _ = vision.train_vision(VISION_PICTURES, config=VISION)
    card = {
        "name": "vision",
        "what": "DenseDetector: a convolutional network that says of each cell of an 8 x 8 grid what object is there",
        "command": "make checkpoints (python -m course_lib.authoring.checkpoints vision)",
        "data": f"{VISION_PICTURES} pictures of the microworld's split 'train', seed {VISION.seed}; no held-out pair",
        **_made_by(VISION),
        "config": model.config.to_dict(),
        "results": _rounded(vision.measure_vision(model)),
    }
    save_checkpoint(folder / "vision.safetensors", model.state_dict(), card)


def train_vit(folder: Path) -> None:
    """Writes vit.safetensors and vit.json; needs vision.safetensors. Interrupted, it goes on where it stopped."""
    model, _ = vision.train_vit(VIT_PICTURES, config=VIT, resume_from=cache_folder() / "checkpoint_vit.run")
    card = {
        "name": "vit",
        "what": "DenseDetector on a ViT: 64 patches of 8 x 8 pixels, each of which says what object is there",
        "command": "make checkpoints (python -m course_lib.authoring.checkpoints vit)",
        "data": f"{VIT_PICTURES} pictures of the microworld's split 'train', seed {VIT.seed}; no held-out pair",
        "distilled_from": {"vision": course.load("vision")[2]["sha256"]},
        **_made_by(VIT),
        "config": model.config.to_dict(),
        "results": _rounded(vision.measure_vision(model)),
    }
    save_checkpoint(folder / "vit.safetensors", model.state_dict(), card)


def train_clip(folder: Path) -> None:
    """Writes clip.safetensors and clip.json; needs vision.safetensors."""
    data = clip.training_pairs(CLIP_PICTURES, CLIP_PICTURES_SEED)
    model, _ = clip.train_clip_from_vision(data, config=CLIP)
    card = {
        "name": "clip",
        "what": "CLIP: the vision checkpoint's convolutions, attention pooling, and a text transformer of two layers",
        "command": "make checkpoints (python -m course_lib.authoring.checkpoints clip)",
        "data": f"{CLIP_PICTURES} pictures of the microworld's split 'train', seed {CLIP_PICTURES_SEED}, five captions "
        "each; no held-out pair",
        "starts_from": {"vision": course.load("vision")[2]["sha256"]},
        **_made_by(CLIP),
        "vocabulary": list(VOCABULARY),
        "config": model.config.to_dict(),
        "results": _rounded(clip.measure_clip(model)),
    }
    save_checkpoint(folder / "clip.safetensors", model.state_dict(), card)


def train_language(folder: Path) -> None:
    """Writes language.safetensors and language.json. Interrupted, it goes on where it stopped."""
    resume_from = cache_folder() / "checkpoint_language.run"
    model, _ = language.train_language(LANGUAGE_SCENES, config=LANGUAGE, resume_from=resume_from)
    tokenizer = language.language_tokenizer()
    card = {
        "name": "language",
        "what": f"GPT-2 of {model.config.layers} layers on whole words: captions, questions with answers, dialogues",
        "command": "make checkpoints (python -m course_lib.authoring.checkpoints language)",
        "data": f"all texts of {LANGUAGE_SCENES} scenes of the microworld's split 'train', seed 3; no held-out pair",
        **_made_by(LANGUAGE),
        "vocabulary": list(tokenizer.vocabulary),
        "config": model.config.to_dict(),
        "results": _rounded(language.measure_language(model)),
    }
    save_checkpoint(folder / "language.safetensors", model.state_dict(), card)


def try_seeds(folder: Path) -> None:
    """Writes seeds.json: what the recipes of lesson 06 reach on each of ten seeds, none left out.

    After each run, so that an interrupted table goes on where it stopped.
    """
    path = folder / SEEDS_FILE
    started = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    data = clip.training_pairs()
    found = {"measured_on": machine(), "pictures": len(data.pictures)}
    if any(started.get(name) != value for name, value in found.items()):
        started = {}
    for name, train, config in (
        ("from scratch", clip.train_clip_from_scratch, clip.FROM_SCRATCH),
        ("from the vision checkpoint", clip.train_clip_from_vision, clip.FROM_VISION),
    ):
        trained_by = _made_by(config) | (
            {"starts_from": course.load("vision")[2]["sha256"]} if "vision" in name else {}
        )
        before = started.get(name, {})
        rows = before.pop("seeds", [])
        if before != trained_by:
            rows = []
        found[name] = {**trained_by, "seeds": rows}
        for seed in list(SEEDS)[len(rows) :]:
            model, _ = train(data, seed)
            rows.append({"seed": seed, **_rounded(clip.measure_clip(model))})
            print(name, rows[-1], flush=True)
            write_atomically(path, json.dumps(started | found, indent=1) + "\n")


def write_readme(folder: Path) -> None:
    """Writes README.md, the cards as people read them, from the cards."""
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = [
        "# The course's own checkpoints",
        "Made by `make checkpoints`, which writes this page too. On one machine the same command gives the same hash; "
        "on another processor sums come in another order, so the hash differs and the results hardly.",
        "Load one with `course_lib.pretrained.course.load(name)`; every file is verified against `data/manifest.json` "
        "first. Pixel values: uint8 / 255, minus "
        f"{HALF_MEAN[0]}, over {HALF_STD[0]}. License: that of the repository; the data are the course's own.",
    ]
    for card in (card for card in cards if "sha256" in card):
        parts += [
            f"## {card['name']}",
            f"{card['what']}. {card['parameters']:,} parameters, {card['bytes'] / 1e6:.1f} MB.",
            f"- command: `{card['command']}`\n- data: {card['data']}\n- steps: {card['training']['steps']} of "
            f"{card['training']['batch_size']}, AdamW, peak rate {card['training']['learning_rate']}, seed "
            f"{card['training']['seed']}\n- measured on: {card['measured_on']}\n- SHA-256: `{card['sha256']}`",
            "| measured on scenes never trained on | |\n|---|---|\n"
            + "\n".join(f"| {name} | {value:.3f} |" for name, value in card["results"].items()),
        ]
    if (folder / SEEDS_FILE).exists():
        found = json.loads((folder / SEEDS_FILE).read_text(encoding="utf-8"))
        parts += [
            "## The recipes of lesson 06 on ten seeds",
            f"`python -m course_lib.authoring.checkpoints seeds`, {found['pictures']:,} training pictures, measured "
            f"on: {found['measured_on']}. Every seed that was run is counted.",
        ]
        for name, runs in ((name, runs) for name, runs in found.items() if isinstance(runs, dict)):
            table = ["| | median | lowest | highest |", "|---|---|---|---|"]
            for measure in (key for key in runs["seeds"][0] if key != "seed"):
                values = [row[measure] for row in runs["seeds"]]
                table.append(f"| {measure} | {statistics.median(values):.3f} | {min(values):.3f} | {max(values):.3f} |")
            parts += [
                f"### {name}: {runs['training']['steps']} steps of {runs['training']['batch_size']}",
                "\n".join(table),
            ]
    write_atomically(folder / "README.md", "\n\n".join(parts) + "\n")


def _made_by(config: TrainingConfig) -> dict:
    return {"training": dataclasses.asdict(config), "measured_on": machine()}


def machine() -> str:
    """What the numbers depend on, in words: processor, threads, torch."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
    return f"{processor}, {THREADS} threads, torch {torch.__version__.split('+')[0]}"


def _rounded(results: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the course's embedded checkpoints again.")
    parser.add_argument(
        "which", nargs="*", choices=["vision", "vit", "clip", "language", "seeds", []], help="default: the first four"
    )
    asked = parser.parse_args().which or ["vision", "vit", "clip", "language"]
    os.environ["COURSE_DEVICE"] = "cpu"
    folder = data_folder() / "checkpoints"
    for name in asked:
        {"vision": train_vision, "vit": train_vit, "clip": train_clip, "language": train_language, "seeds": try_seeds}[
            name
        ](folder)
        write_readme(folder)
        write_manifest()
    for name in asked:
        if name != "seeds":
            print(f"{name}: {course.load(name)[2]['results']}")


if __name__ == "__main__":
    main()
