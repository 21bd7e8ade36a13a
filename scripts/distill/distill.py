"""Distil VGG19 into the embedded network `vgg19-lite`: weights and folders of pictures in, one
safetensors file out.

Trained in PyTorch (`pip install 'nst-jax[torch]'`): on a CPU its bfloat16 convolutions run three
times faster than JAX's with kernel gradients, and a GPU is used where there is one. The student's
description is `nst_jax/networks/lite.py`; `weights/README.md` tells how the shipped file was made.

The student is trained on its own mistakes: an optimiser drives a picture to wherever the student
is wrong, so pictures half stylized with the current student join the training pictures all along.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from distill_init import initialise
from distill_muon import Muon
from distill_pictures import crop, disturb, hold_out, load_folder, sample
from distill_student import LAYERS, TEACHER_WIDTHS, Student, export, gram
from distill_teacher import Teacher
from torch import nn

# How much each layer counts: (features, Gram matrix). relu4_1's Gram dominates Gatys' objective.
IMPORTANCE = {
    "relu1_1": (0.5, 0.2),
    "relu2_1": (0.5, 0.5),
    "relu3_1": (0.5, 0.5),
    "relu4_1": (1.0, 2.5),
    "relu4_2": (0.5, 0.0),
    "relu5_1": (0.25, 0.25),
}
STYLE = tuple(layer for layer in LAYERS if layer != "relu4_2")
DEEP = tuple(layer for layer in LAYERS if layer != "relu1_1")


def relative(error: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Squared error over squared truth, per picture."""
    size = truth.float().square().flatten(1).sum(1).clamp(min=1e-9)
    return error.float().square().flatten(1).sum(1) / size


def errors(student: dict, teacher: dict) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Per layer the relative squared errors of (features, Gram matrix), one value per picture."""
    result = {}
    for layer, truth in teacher.items():
        found, g = student[layer], gram(truth).float()
        result[layer] = relative(found - truth, truth), relative(gram(found).float() - g, g)
    return result


def total_loss(found: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The training loss. Roots of the relative Gram errors: their gradient does not fade early."""
    terms = [
        a * features.mean() + b * (grams + 1e-6).sqrt().mean()
        for layer, (features, grams) in found.items()
        for a, b in [IMPORTANCE[layer]]
    ]
    return torch.stack(terms).sum()


class Pool:
    """Pictures with the teacher's features at the deep layers, used several times each."""

    def __init__(self, capacity: int):
        self.capacity, self.items, self.next = capacity, [], 0

    def add(self, x: torch.Tensor, teacher: Teacher, device: torch.device) -> None:
        """Run the teacher on pictures (b, 3, s, s) and keep them, over the oldest if full."""
        with torch.autocast(device.type, torch.bfloat16):
            features = teacher(x.to(device), DEEP)
        stored = {k: v.to(torch.bfloat16).cpu() for k, v in features.items()}
        for i in range(len(x)):
            item = x[i].cpu(), {k: v[i].clone() for k, v in stored.items()}
            if len(self.items) < self.capacity:
                self.items.append(item)
            else:
                self.items[self.next % self.capacity] = item
            self.next += 1

    def batch(self, size: int, rng: np.random.Generator, device: torch.device):
        """A random batch: pictures and the teacher's features."""
        chosen = [self.items[i] for i in rng.integers(len(self.items), size=size)]
        x = torch.stack([item[0] for item in chosen])
        truth = {k: torch.stack([item[1][k] for item in chosen]) for k in DEEP}
        return x.to(device), {k: v.to(device) for k, v in truth.items()}


class Stylizations:
    """Pictures on their way to a style, optimised with the current student, restarted at times.

    By L-BFGS in float32 on Gatys' objective, unclipped: just what the student will be used for.
    """

    def __init__(self, count: int, draw, scale: dict[str, float], rng: np.random.Generator):
        self.draw, self.rng = draw, rng
        self.unit = {k: 1e3 * scale[k] ** 4 / TEACHER_WIDTHS[k] ** 4 for k in STYLE}
        self.unit["relu4_2"] = scale["relu4_2"] ** 2
        self.x, self.content, self.style = (
            torch.stack([draw() for _ in range(count)]) for _ in "xyz"
        )

    def advance(self, student: Student, count: int, steps: int) -> torch.Tensor:
        """Optimise `count` of them for some Adam steps; return them as they then are."""
        chosen = self.rng.permutation(len(self.x))[:count]
        for i in chosen:
            if self.rng.random() < 0.1:
                self.content[i], self.style[i] = self.draw(), self.draw()
                self.x[i] = self.content[i] if self.rng.random() < 0.8 else self.draw()
        device = next(student.parameters()).device
        x, content, style = (t[chosen].to(device) for t in (self.x, self.content, self.style))
        with torch.no_grad():
            kept = student(content, ("relu4_2",))["relu4_2"]
            goal = {k: gram(v) for k, v in student(style, STYLE).items()}
        z = (x * 255).requires_grad_(True)
        lbfgs = torch.optim.LBFGS([z], max_iter=steps, max_eval=steps, history_size=steps)

        def closure() -> torch.Tensor:
            lbfgs.zero_grad()
            features = student(z / 255, LAYERS)
            loss = (features["relu4_2"] - kept).square().flatten(1).mean(1) * self.unit["relu4_2"]
            for k, g in goal.items():
                loss = loss + (gram(features[k]) - g).square().flatten(1).sum(1) * self.unit[k]
            if not first:
                first.append(loss.detach())
            # Relative to its start: no picture of the batch drowns the others.
            loss = (loss / first[0]).sum()
            loss.backward()
            return loss

        first: list[torch.Tensor] = []
        lbfgs.step(closure)
        for p in student.parameters():
            p.grad = None
        x = z / 255
        result = x.detach().cpu()
        good = torch.isfinite(result).flatten(1).all(1)
        self.x[chosen[good.numpy()]] = result[good]
        return result[good].clamp(-1, 2)


class Run:
    """One training run: student, its moving average, optimisers; saved and resumed as a whole."""

    def __init__(self, args: argparse.Namespace, teacher: Teacher, device: torch.device):
        self.args, self.teacher, self.device = args, teacher, device
        self.student = Student(args.widths).to(device)
        self.average = Student(args.widths).to(device)
        for student in (self.student, self.average):
            nn.utils.convert_conv2d_weight_memory_format(student, torch.channels_last)
        self.average.load_state_dict(self.student.state_dict())
        kernels = [
            p
            for n, p in self.student.named_parameters()
            if "conv" in n and p.ndim == 4 and p.shape[1] > 3
        ]
        rest = [p for p in self.student.parameters() if not any(p is k for k in kernels)]
        self.optimizers = [
            Muon(kernels, lr=args.rate),
            torch.optim.AdamW(rest, lr=args.rate, weight_decay=0.0),
        ]
        self.step, self.seconds = 0, 0.0

    def progress(self) -> float:
        """How much of the run is done, 0 to 1: of the steps, or of the minutes."""
        if self.args.steps:
            return self.step / self.args.steps
        return self.seconds / 60 / self.args.minutes

    def train_step(self, x: torch.Tensor, truth: dict[str, torch.Tensor]) -> float:
        """One optimiser step on a batch; returns its loss."""
        done = min(self.progress(), 1.0)
        # Warm up for 200 steps, then half a cosine down to 1 % of the rate.
        factor = min(1.0, (self.step + 1) / 200) * (0.01 + 0.495 * (1 + math.cos(math.pi * done)))
        # relu1_1 is easy and large: a part of the picture teaches enough.
        small = x[:, :, 32:64, 32:64]
        truth = truth | self.teacher(small, ("relu1_1",))
        with torch.autocast(self.device.type, torch.bfloat16):
            found = self.student(x, DEEP)
            found |= self.student(small, ("relu1_1",))
            loss = total_loss(errors(found, truth))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.args.rate * factor
            optimizer.step()
        self.student.zero_grad(set_to_none=True)
        decay = min(0.998, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.student.parameters(), strict=True)
            for a, p in pairs:
                a.lerp_(p, 1 - decay)
        self.step += 1
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write everything needed to go on; a kill at any moment leaves the old file."""
        state = {
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "scale": self.teacher.scale,
            "step": self.step,
            "seconds": self.seconds,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, path)

    def resume(self, path: Path) -> None:
        """Go on from a file written by `save`."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.teacher.scale = state["scale"]
        self.step, self.seconds = state["step"], state["seconds"]


@torch.no_grad()
def evaluate(student: Student, teacher: Teacher, sets: dict[str, torch.Tensor]) -> dict:
    """Mean relative errors on held-out pictures: {set: {layer: [features, Gram]}}."""
    device = next(student.parameters()).device
    report = {}
    for name, pictures in sets.items():
        found: dict[str, list] = {layer: [] for layer in LAYERS}
        for x in pictures.split(8):
            x = x.to(device)
            with torch.autocast(device.type, torch.bfloat16):
                truth, guess = teacher(x, LAYERS), student(x, LAYERS)
            for layer, values in errors(guess, truth).items():
                found[layer].append(torch.stack(values))
        report[name] = {k: torch.cat(v, 1).mean(1).tolist() for k, v in found.items()}
    return report


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--teacher", type=Path, required=True, help="VGG19: .safetensors or .npz, HWIO")
    p.add_argument("--photos", type=Path, required=True, help="a folder of photographs")
    p.add_argument("--paintings", type=Path, required=True, help="a folder of style pictures")
    p.add_argument("--exclude", nargs="*", default=[], help="name patterns never trained on")
    p.add_argument("--output", type=Path, required=True, help="the student: .safetensors")
    p.add_argument("--checkpoint", type=Path, help="default: the output with suffix .pt")
    p.add_argument("--trace", type=Path, help="JSON lines; default: the output with suffix .jsonl")
    p.add_argument("--resume", action="store_true", help="go on from the checkpoint if it is there")
    p.add_argument("--model", type=Path, help="checkpoint of a run, to begin with its student")
    p.add_argument("--minutes", type=float, default=75.0, help="length of the run")
    p.add_argument("--steps", type=int, default=0, help="length in steps instead of minutes")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--size", type=int, default=128, help="side of the training pictures")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--pool", type=int, default=2400, help="pictures kept with teacher features")
    p.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    p.add_argument("--refresh", type=int, default=8, help="steps between new pictures")
    p.add_argument("--own", type=int, default=4, help="of the student's own making at a time")
    p.add_argument("--widths", default="16,16 48,64 128,128 384,128 128", help="of the blocks")
    args = p.parse_args(argv)
    args.checkpoint = args.checkpoint or args.output.with_suffix(".pt")
    args.trace = args.trace or args.output.with_suffix(".jsonl")
    return args


class Pictures(NamedTuple):
    """Training pictures of two kinds, and the held-out crops: clean, and with noise and shifts."""

    photos: list[np.ndarray]
    paintings: list[np.ndarray]
    clean: torch.Tensor
    noisy: torch.Tensor
    held_out: list[str]


def load_pictures(args: argparse.Namespace) -> Pictures:
    """Read the folders, and set 40 photographs and 8 paintings aside."""
    photos, held_photos, names = hold_out(load_folder(args.photos, args.exclude), 40)
    paintings, held_paintings, more = hold_out(load_folder(args.paintings, args.exclude), 8)
    still = np.random.default_rng(12345)  # the same crops in every run
    clean = np.stack([crop(p, args.size, still) for p in held_photos + held_paintings])
    noisy = np.stack([disturb(x, still) for x in clean])
    clean, noisy = torch.from_numpy(clean), torch.from_numpy(noisy)
    return Pictures(photos, paintings, clean, noisy, names + more)


def train(run: Run, pictures: Pictures, report: Callable) -> None:
    """Train until the run's steps or minutes are over, saving every minute."""
    args, teacher, device = run.args, run.teacher, run.device
    rng = np.random.default_rng([args.seed, run.step])

    def draw() -> torch.Tensor:
        return torch.from_numpy(sample(pictures.photos, pictures.paintings, args.size, rng))

    pool, paths = Pool(args.pool), Stylizations(48, draw, teacher.scale, rng)
    for _ in range(min(24, args.pool // 16)):
        pool.add(torch.stack([draw() for _ in range(16)]), teacher, device)
    last, last_save, losses = time.monotonic(), time.monotonic(), []
    while run.progress() < 1:
        if run.step % args.refresh == 0:
            # Every other refresh is of the student's own making.
            if run.step // args.refresh % 2:
                pool.add(paths.advance(run.student, args.own, 20), teacher, device)
            else:
                pool.add(torch.stack([draw() for _ in range(16)]), teacher, device)
        losses.append(run.train_step(*pool.batch(args.batch, rng, device)))
        now = time.monotonic()
        run.seconds, last = run.seconds + now - last, now
        if run.step % 100 == 0:
            report("train", loss=float(np.mean(losses)), pool=len(pool.items))
            losses = []
        if run.step % 500 == 0:
            sets = {"clean": pictures.clean, "noisy": pictures.noisy}
            report("held-out", errors=evaluate(run.average, teacher, sets))
        if now - last_save > 60:
            run.save(args.checkpoint)
            last_save = now


def half_stylized(run: Run, clean: torch.Tensor) -> torch.Tensor:
    """Held-out pictures on their way to each other's style, as the trained student takes them."""
    rng = np.random.default_rng(54321)
    paths = Stylizations(24, lambda: clean[rng.integers(len(clean))], run.teacher.scale, rng)
    return torch.cat([paths.advance(run.average, 8, steps) for steps in (10, 30, 100)])


def main(argv: list[str] | None = None) -> None:
    """Train, saving as it goes; measure and export at the end."""
    args = parse(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(args.seed)
    teacher = Teacher(args.teacher, device)
    run, pictures = Run(args, teacher, device), load_pictures(args)

    def report(event: str, **values) -> None:
        line = {"event": event, "step": run.step, "minutes": round(run.seconds / 60, 2), **values}
        with args.trace.open("a") as file:
            file.write(json.dumps(line) + "\n")

    if args.resume and args.checkpoint.exists():
        run.resume(args.checkpoint)
    else:
        teacher.measure(pictures.clean.to(device))
        start = np.random.default_rng(args.seed)
        crops = [sample(pictures.photos, pictures.paintings, args.size, start) for _ in range(128)]
        model = None
        if args.model:
            state = torch.load(args.model, map_location=device, weights_only=True)["average"]
            model = Student.of(state).to(device)
        initialise(run.student, teacher, torch.from_numpy(np.stack(crops)).to(device), model)
        run.average.load_state_dict(run.student.state_dict())
    parameters = sum(p.numel() for p in run.student.parameters())
    report("start", held_out=pictures.held_out, parameters=parameters)

    if run.progress() < 1:
        train(run, pictures, report)
        run.save(args.checkpoint)
    kept = ("seed", "size", "batch", "pool", "rate", "refresh", "own", "widths", "minutes")
    settings = {k: getattr(args, k) for k in kept} | {"steps": run.step}
    export(run.average, teacher.scale, args.output, args.teacher, settings)
    sets = {"clean": pictures.clean, "noisy": pictures.noisy}
    sets["stylized"] = half_stylized(run, pictures.clean)
    report("end", errors=evaluate(run.average, teacher, sets))


if __name__ == "__main__":
    main()
