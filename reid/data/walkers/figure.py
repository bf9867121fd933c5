"""A person in motion: a walking pose, and the tubes it shows to a camera.

Lengths are in body heights. In the body's own frame x runs across the shoulders, y up from the ground and z forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import textures
from .body import Person
from .clothes import Outfit
from .textures import ROWS
from .tubes import Tube, capsule

Point = tuple[float, float, float]
Axis = tuple[Point, Point]


@dataclass(frozen=True)
class Pose:
    """One moment of a walk.

    phase: of the step, rad. stride: swing of the legs, rad. arms: what each arm does. nod: head turned, rad.
    """

    phase: float
    stride: float
    arms: tuple[str, str]
    nod: float
    lean: float


@dataclass(frozen=True)
class View:
    """How the camera sees the figure: yaw rad (0 walks towards the camera), pitch rad (looking down), size and place."""

    yaw: float
    pitch: float
    height_px: float
    foot_px: tuple[float, float]


def pose(rng: np.random.Generator) -> Pose:
    """Draw a moment: most people walk, some stand; arms swing, hold a phone or rest in a pocket."""
    kinds = ["swing", "phone", "pocket", "strap"]
    left, right = (str(rng.choice(kinds, p=[0.76, 0.08, 0.1, 0.06])) for _ in range(2))
    stride = rng.uniform(0.28, 0.55) if rng.random() < 0.75 else rng.uniform(0.0, 0.14)
    return Pose(rng.uniform(0, 2 * math.pi), stride, (left, right), rng.normal(0, 0.25), rng.uniform(-0.005, 0.025))


class _Painter:
    """Turns parts of the body into tubes before one camera."""

    def __init__(self, person: Person, view: View, sink: float):
        self.person, self.view, self.sink = person, view, sink
        self.cos, self.sin = math.cos(view.yaw), math.sin(view.yaw)
        self.down, self.flat = math.sin(view.pitch), math.cos(view.pitch)

    def project(self, point: Point) -> Point:
        """Where a point of the body is on the picture, x and y px, and its depth towards the camera, body heights."""
        x, y, z = point
        # Longer legs leave less for the trunk: the height of the figure stays 1.
        legs = self.person.legs
        y = self.sink + (y * legs if y < 0.53 else 1 - (1 - y) * (1 - 0.53 * legs) / 0.47)
        depth = z * self.cos - x * self.sin
        across = x * self.cos + z * self.sin
        up = y * self.flat - depth * self.down
        scale, (foot_x, foot_y) = self.view.height_px, self.view.foot_px
        return foot_x + scale * across, foot_y - scale * up, depth

    def depth(self, point: Point) -> float:
        return point[2] * self.cos - point[0] * self.sin

    def limb(self, part: str, first: Point, last: Point) -> Tube:
        """A part that points anywhere and has round ends."""
        radius = self.person.shapes[part][0] * self.view.height_px
        start, end, radius = capsule(self.project(first), self.project(last), radius)
        return Tube(start, end, radius, _turn(self.view.yaw), ROWS[part])

    def trunk(self, part: str, first: Point, last: Point, turned: float = 0.0) -> Tube:
        """A part that stands upright and is wider than deep; turned: against the rest of the body, rad."""
        (x0, y0, _), (x1, y1, _) = self.project(first), self.project(last)
        front, side = self.person.shapes[part]
        yaw = self.view.yaw + turned
        radius = np.hypot(front * math.cos(yaw), side * math.sin(yaw)) * self.view.height_px
        return Tube((x0, y0), (x1, y1), radius.astype(np.float32), _turn(yaw), ROWS[part])


def tubes(person: Person, pose: Pose, view: View) -> list[Tube]:
    """The tubes of a person in a pose before a camera, the farthest first."""
    legs = [_leg(person, pose, side) for side in (-1, 1)]
    # The lower foot stands on the ground.
    sink = textures.ANKLE - min(leg["ankle"][1] for leg in legs) * person.legs
    painter = _Painter(person, view, sink)
    facing = painter.cos > -0.15
    back_arms, front_arms = _arm_tubes(painter, person, pose)
    mane = [painter.trunk("mane", *axis) for axis in _mane(person.outfit, pose.lean)]
    axes = _bag(person, pose)
    bag = [painter.trunk("bag", *axis) for axis in axes]
    carried_behind = sum(painter.depth(top) for top, _ in axes) < 0
    neck = (0, textures.NECK - 0.005, pose.lean)
    return [
        *(bag if carried_behind else []),
        *_leg_tubes(painter, person, legs),
        *(mane if facing else []),
        *back_arms,
        painter.limb("neck", (0, 0.90, pose.lean + 0.005), (0, 0.85, pose.lean)),
        painter.trunk("torso", neck, (0, person.bottom, 0)),
        *_head_tubes(painter, person, pose, facing),
        *([] if facing else mane),
        *front_arms,
        *([] if carried_behind else [painter.limb("strap", *axis) for axis in _strap(person)] + bag),
    ]


def _leg_tubes(painter: _Painter, person: Person, legs: list[dict[str, Point]]) -> list[Tube]:
    found = []
    for leg in sorted(legs, key=lambda leg: painter.depth(leg["knee"]) + painter.depth(leg["ankle"])):
        found.append(painter.limb("shoe", leg["heel"], leg["toe"]))
        found.append(painter.limb("shin", leg["knee"], leg["ankle"]))
        found.append(painter.limb("thigh", leg["hip"], leg["knee"]))
    found.append(painter.trunk("hips", (0, 0.58, 0), (0, 0.45, 0)))
    if person.outfit.bottom.kind in ("skirt", "dress"):
        found.append(painter.trunk("skirt", (0, 0.60, 0), (0, textures.lowest(person.outfit.bottom), 0)))
    return found


def _arm_tubes(painter: _Painter, person: Person, pose: Pose) -> tuple[list[Tube], list[Tube]]:
    """The arms behind the trunk and those before it."""
    behind: list[Tube] = []
    before: list[Tube] = []
    for shoulder, elbow, wrist, hand in _arms(person, pose):
        parts = [
            painter.limb("hand", wrist, hand),
            painter.limb("fore", elbow, wrist),
            painter.limb("upper", shoulder, elbow),
        ]
        elbow_depth, wrist_depth = painter.depth(elbow), painter.depth(wrist)
        side = before if elbow_depth + 0.5 * wrist_depth > -0.03 else behind
        side.extend(parts if wrist_depth < elbow_depth + 0.04 else parts[::-1])
    return behind, before


def _head_tubes(painter: _Painter, person: Person, pose: Pose, facing: bool) -> list[Tube]:
    head = painter.trunk("head", (0, 1.004, pose.lean + 0.012), (0, 0.868, pose.lean + 0.016), pose.nod)
    if person.outfit.hat != "cap":
        return [head]
    brim = painter.limb("brim", (0, 0.962, pose.lean + 0.045), (0, 0.950, pose.lean + 0.085))
    return [head, brim] if facing else [brim, head]


def _turn(yaw: float) -> float:
    return (yaw + math.pi) % (2 * math.pi) - math.pi


def _leg(person: Person, pose: Pose, side: int) -> dict[str, Point]:
    phase = pose.phase + (0 if side > 0 else math.pi)
    thigh = pose.stride * math.sin(phase)
    # The knee bends while the leg swings forward.
    shin = thigh - pose.stride * (0.15 + 0.9 * max(0.0, math.cos(phase)))
    x = side * person.hip
    hip = (x, 0.50, 0.0)
    knee = (x * 0.95, 0.50 - 0.23 * math.cos(thigh), 0.23 * math.sin(thigh))
    ankle = (x * 0.85, knee[1] - 0.225 * math.cos(shin), knee[2] + 0.225 * math.sin(shin))
    tilt = 0.5 * (shin + 0.1)
    heel = (x * 0.85, ankle[1] - 0.016 - 0.02 * math.sin(tilt), ankle[2] - 0.022)
    toe = (x * 1.15, ankle[1] - 0.020 + 0.09 * math.sin(tilt), ankle[2] + 0.088 * math.cos(tilt))
    return {"hip": hip, "knee": knee, "ankle": ankle, "heel": heel, "toe": toe}


def _arms(person: Person, pose: Pose) -> list[tuple[Point, Point, Point, Point]]:
    """Shoulder, elbow, wrist and fingertips of both arms."""
    found = []
    for side, kind in zip((-1, 1), pose.arms, strict=True):
        swing = -0.85 * pose.stride * math.sin(pose.phase + (0 if side > 0 else math.pi))
        out, bend, inward = {
            "swing": (0.10, 0.28 + 0.3 * max(0.0, swing), 0.0),
            "phone": (0.10, 1.9, 0.35),
            "pocket": (0.28, 0.45, 0.16),
            "strap": (0.22, 2.2, 0.45),
        }[kind]
        upper = swing if kind == "swing" else 0.15 if kind in ("phone", "strap") else -0.2
        fore = upper + bend
        x, y, z = side * person.shoulder, 0.797, pose.lean * 0.8
        elbow = (x + side * 0.165 * math.sin(out), y - 0.165 * math.cos(upper), z + 0.165 * math.sin(upper))
        way = (side * math.sin(out * 0.5 - inward), -math.cos(fore), math.sin(fore))
        found.append(((x, y, z), elbow, _along(elbow, way, 0.145), _along(elbow, way, 0.185)))
    return found


def _along(start: Point, way: Point, length: float) -> Point:
    return start[0] + length * way[0], start[1] + length * way[1], start[2] + length * way[2]


def _mane(outfit: Outfit, lean: float) -> list[Axis]:
    """From where to where hair or a hood hangs behind the head."""
    if outfit.hat in ("hood", "scarf"):
        return [((0, 0.93, lean - 0.012), (0, 0.83, lean - 0.02))]
    hair: dict[str, list[Axis]] = {
        "bob": [((0, 0.985, lean - 0.004), (0, 0.862, lean - 0.008))],
        "long": [((0, 0.985, lean - 0.006), (0, 0.755, lean - 0.045))],
        "ponytail": [((0, 0.955, lean - 0.045), (0, 0.81, lean - 0.07))],
        "bun": [((0, 0.985, lean - 0.045), (0, 0.955, lean - 0.05))],
    }
    return hair.get(outfit.hairstyle, [])


def _bag(person: Person, pose: Pose) -> list[Axis]:
    hip = person.shoulder + 0.01
    if person.outfit.bag == "handbag":
        hand = _arms(person, pose)[1][3]
        return [((hand[0], hand[1] - 0.01, hand[2]), (hand[0], hand[1] - 0.11, hand[2]))]
    bags: dict[str, list[Axis]] = {
        "backpack": [((0, 0.805, -0.095), (0, 0.595, -0.105))],
        "satchel": [((hip, 0.56, 0.01), (hip, 0.45, 0.01))],
        "tote": [((hip + 0.02, 0.60, 0.0), (hip + 0.02, 0.44, 0.0))],
    }
    return bags.get(person.outfit.bag, [])


def _strap(person: Person) -> list[Axis]:
    if person.outfit.bag != "tote":
        return []
    return [((person.shoulder, 0.82, z), (person.shoulder + 0.03, 0.60, z)) for z in (-0.02, 0.02)]
