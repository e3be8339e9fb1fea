"""An agent, the bundled model and the simulated kitchen, and nothing scripted."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from agent import call, over_stdio, picture_rgb
from mcp import Client

# Depth pictures above 500 kB are lost with the transports of the tests.
SEED, KITCHEN_WH = 85, (384, 288)


@pytest.mark.timeout(500)
def test_is_this_fridge_open_and_when_does_it_change(
    spawn: Any, ros_node: Any, make_world: Any
) -> None:
    from chatspot_ros.msg import ActionStep
    from chatspot_ros.srv import KitchenAct
    from std_msgs.msg import String

    from chatspot_sim.processes import installed
    from chatspot_sim.truth import Truth

    truths: list[Truth] = []
    ros_node.create_subscription(
        String, "/home/kitchen/truth", lambda m: truths.append(Truth.from_json(m.data)), 10
    )
    act = ros_node.create_client(KitchenAct, "/home/kitchen/act")
    space = ("--ros-args", "-r", "__ns:=/home")
    size = ("-p", f"width:={KITCHEN_WH[0]}", "-p", f"height:={KITCHEN_WH[1]}")
    spawn(
        *(*installed("kitchen_camera"), *space, "-p", f"seed:={SEED}", *size),
        *("-p", "transport:=compressed", "-p", "rate:=2.0", "-p", "depth:=16UC1"),
    )
    spawn(*installed("kitchen_detector"), *space, "-p", "miss_rate:=0.0")
    spawn(
        *(sys.executable, "-m", "chatspot_ros.region_query_node", *space, "-p", "threads:=1"),
        *(
            "-p",
            "image_transport:=compressed",
            "-p",
            "depth_images:=raw",
            "-p",
            "max_image_age:=600.0",
        ),
        ready="ready: region_query_node",
        timeout_s=300.0,
    )
    make_world.wait_until(lambda: truths)
    assert act.wait_for_service(60.0)

    def door() -> str:
        (fridge,) = (thing for thing in truths[-1].things if thing.name == "fridge")
        return fridge.state["door"]

    async def scene(client: Client) -> None:
        found = (await call(client, "list_detections")).structured_content
        (fridge,) = (one for one in found["detections"] if one["label"] == "fridge")
        box = [number for point in fridge["points_px"] for number in point]
        before = door()
        asked = await call(
            client, "ask_region", question="Is this fridge open?", regions=[box],
            frame=found["picture"]["frame"],
        )  # fmt: skip
        (answer,) = asked.structured_content["answers"]
        assert answer["text"].lower().startswith("yes" if before == "open" else "no"), answer
        assert min(picture_rgb(asked).shape[:2]) > 100
        state = await call(client, "ask_region", question="", task="state", regions=[box])
        (answer,) = state.structured_content["answers"]
        assert answer["state"]["door"] == before
        (about,) = answer["about"]
        assert about["position"] is not None, about
        assert 0.3 < about["position"]["xyz_m"][2] < 6.0, "in front of the camera"

        async def on_progress(_: float, __: float | None, message: str | None) -> None:
            if (message or "").startswith("look 1:"):
                skill = "close" if before == "open" else "open"
                step = ActionStep(action=skill, target="fridge")
                act.call_async(KitchenAct.Request(step=step))

        watched = await client.call_tool(
            "watch", {"region": box, "every_s": 1, "timeout_s": 100},
            progress_callback=on_progress,
        )  # fmt: skip
        told = watched.structured_content
        assert told["changed"], told
        assert (told["before"]["state"]["door"], told["now"]["state"]["door"]) == (before, door())
        assert before != door()

    over_stdio("/home/region_query_node", scene)
