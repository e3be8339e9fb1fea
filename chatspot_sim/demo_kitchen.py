"""Ask the twelve questions over ROS, judge the answers, do the planned steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatspot_ros.srv import RegionQuery

from chatspot_ros.core.boxes import iou
from chatspot_ros.core.regions import Region
from chatspot_ros.ros.conversions import to_placed_region, to_region
from chatspot_sim.asking import KitchenQuestion
from chatspot_sim.demo_client import DemoError, Moment, Planner, Reply, request_fields
from chatspot_sim.demo_questions import Asked, draw_dozen
from chatspot_sim.demo_report import Result, answer_text, position_text, region_text
from chatspot_sim.judging import judge
from chatspot_sim.truth import Box, Truth

_RIGHT_OF_MANY = 0.8  # least share of right answers about all detections
_SAME_IOU = 0.5  # least IoU of a detection with its thing
_TRIES = 20


def ask_dozen(
    planner: Planner, seed: int, say: Callable[[str], None]
) -> tuple[Moment, list[Result], list[Any]]:
    """Ask all twelve about one picture; return it, the results and the steps of the plan.

    Raises DemoError if the kitchen does not allow all of them, or no picture arrives.
    """
    moment = planner.moment()
    dozen = draw_dozen(moment.truth, seed)
    if dozen is None:
        raise DemoError("this kitchen does not show enough; try another --seed")
    results: list[Result] = []
    steps: list[Any] = []
    for number, asked in enumerate(dozen, start=1):
        say(f"asking {number} of {len(dozen)}: {asked.about.question}")
        first_turn = number == _first_of_session(dozen)
        moment, reply = _ask_until_seen(planner, asked, moment, first_turn=first_turn)
        results.append(_judged(asked, reply, moment))
        if asked.about.kind == "plan" and reply.message.answers:
            steps = list(reply.message.answers[0].steps)
    return moment, results, steps


def do_steps(planner: Planner, steps: list[Any], before: Truth) -> str:
    """Do the steps of a plan; return one line with the steps done and the visible changes.

    `before` is the truth before the first step.
    """
    if not steps:
        return "the plan has no steps: nothing was done"
    done: list[str] = []
    for step in steps:
        worked, message = planner.act(step)
        if not worked:
            return f"the robot did: {', '.join(done) or 'nothing'}; then: {message}"
        done.append(f"{step.action} {step.target}".strip())
    seen = changes(before, planner.truth_after(planner.now_ns()))
    return (
        f"the robot did: {', '.join(done)}; the camera now sees: {', '.join(seen) or 'no change'}"
    )


def changes(before: Truth, after: Truth) -> list[str]:
    """Return the differences of two truths: states, things that appeared or disappeared."""
    old, new = ({thing.id: thing for thing in truth.things} for truth in (before, after))
    found = [
        f"{thing} {name}: {old[thing].state[name]} -> {value}"
        for thing in new.keys() & old.keys()
        for name, value in new[thing].state.items()
        if old[thing].state.get(name, value) != value
    ]
    found += [f"no {thing} any more" for thing in old.keys() - new.keys()]
    found += [f"also {thing}" for thing in new.keys() - old.keys()]
    return sorted(found)


def _ask_until_seen(
    planner: Planner, asked: Asked, moment: Moment, *, first_turn: bool
) -> tuple[Moment, Reply]:
    """Ask about `moment`, or about a later one if the node has not received it.

    The node may discover the camera or the detector later than this program.
    """
    for _ in range(_TRIES):
        reply = _put(planner, asked, moment, first_turn=first_turn)
        if reply.message.status != RegionQuery.Response.NO_IMAGE:
            return moment, reply
        moment = planner.moment(after_ns=planner.now_ns())
    raise DemoError(f"the node receives no picture: {reply.message.message}")


def _first_of_session(dozen: list[Asked]) -> int:
    return next((n for n, asked in enumerate(dozen, start=1) if asked.session), 0)


def _put(planner: Planner, asked: Asked, moment: Moment, *, first_turn: bool) -> Reply:
    follows = bool(asked.session) and not first_turn
    fields = request_fields(
        asked.about.question,
        () if asked.detections else asked.about.regions,
        task=asked.about.task,
        # The session keeps its picture for further turns.
        stamp_ns=0 if follows else moment.stamp_ns,
        session=asked.session,
        use_detections=asked.detections,
    )
    return planner.ask(**fields) if asked.way == "action" else planner.query(**fields)


def _judged(asked: Asked, reply: Reply, moment: Moment) -> Result:
    about, answers = asked.about, reply.message.answers
    way = f"{asked.way}, {reply.pieces} parts" if asked.way == "action" else asked.way
    if asked.session:
        way += ", session"
    if asked.detections:
        return _judged_many(asked, reply, moment)
    if not reply.ok or len(answers) != 1:
        answer = f"[{reply.message.message or 'no answer'}]"
        return Result(way, about.question, region_text(about.regions), answer,
                      truth_text(about), False, reply.seconds, about.regions)  # fmt: skip
    grounded = tuple(to_placed_region(region) for region in answers[0].grounded)
    asked = tuple(to_placed_region(region) for region in answers[0].regions)
    return Result(
        way,
        about.question,
        region_text(about.regions),
        answer_text(answers[0].text, grounded),
        truth_text(about),
        judge(
            about,
            answers[0].text,
            moment.truth.width,
            moment.truth.height,
            [region.box_xyxy_px for region in grounded],
        ),
        reply.seconds,
        about.regions,
        grounded,
        position=position_text((*asked, *grounded)),
    )


def _judged_many(asked: Asked, reply: Reply, moment: Moment) -> Result:
    """Judge one question about every detection: right if at least four in five answers are.

    An answer is right if it names the detected thing; a false detection has no right answer.
    """
    marks = []
    truths = []
    for answer in reply.message.answers:
        region = to_region(answer.regions[0])
        name = thing_there(region.box_xyxy_px, moment.truth)
        about = KitchenQuestion("name", asked.about.question, "", (region,), name)
        right = bool(name) and judge(about, answer.text, moment.truth.width, moment.truth.height)
        marks.append((region, answer.text, right))
        truths.append(name or "nothing")
    good = sum(right for _, _, right in marks)
    complete = reply.ok and len(marks) == moment.detections > 0
    said = ", ".join(text for _, text, _ in marks)
    return Result(
        "service, detections",
        asked.about.question,
        f"{moment.detections} detections",
        f"{good} of {len(marks)}: {said}" if reply.ok else f"[{reply.message.message}]",
        ", ".join(truths),
        complete and good >= _RIGHT_OF_MANY * len(marks),
        reply.seconds,
        marks=tuple(marks),
    )


def thing_there(box: Box, truth: Truth) -> str:
    """Return the kind of thing that overlaps `box` most; empty if no IoU is at least 0.5."""
    best = max(truth.things, key=lambda thing: iou(box, thing.box_xyxy_px), default=None)
    return best.name if best is not None and iou(box, best.box_xyxy_px) >= _SAME_IOU else ""


def truth_text(about: KitchenQuestion) -> str:
    """Return the true answer; the box if it is a place."""
    if about.box_xyxy_px is not None:
        return region_text((Region.box(*about.box_xyxy_px),))
    return about.answer
