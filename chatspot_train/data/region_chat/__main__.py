"""Write dialogues about regions: `chatspot region-chat --regions ...`.

The endpoint's key is read from the environment variable OPENAI_API_KEY. Run the command again with
the same `--out` to resume, and to retry the images that failed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chatspot_ros.util.command_line import INTERRUPTED, Command
from chatspot_ros.util.resources import share_folder
from chatspot_train.data.region_chat.annotations import Annotations
from chatspot_train.data.region_chat.journal import Journal
from chatspot_train.data.region_chat.llm_prompt import Wording
from chatspot_train.data.region_chat.writer import Tally, Writer
from chatspot_train.openai_client import ChatClient


def _run(options: argparse.Namespace) -> int:
    """Return the exit status: 0, or 1 if images failed."""
    tally = Tally(options.price_in, options.price_out)
    try:
        asyncio.run(_write(options, tally))
    except KeyboardInterrupt:
        main.say("stopped; run it again to resume")
        return INTERRUPTED
    _show(tally, options.out, Console())
    return 1 if tally.failed else 0


async def _write(options: argparse.Namespace, tally: Tally) -> None:
    seeds = options.seeds or share_folder() / "config" / "train" / "region_chat.yaml"
    wording = Wording.read(seeds)
    async with ChatClient(
        options.endpoint, options.model, temperature=wording.temperature,
        max_tokens=wording.max_tokens, retries=options.retries, timeout_s=options.timeout,
    ) as asker:  # fmt: skip
        annotations = Annotations(
            options.regions, options.attributes, options.relationships, options.images_info
        )
        with closing(Journal(options.out)) as journal:
            journal.check_maker({"model": options.model, "seeds": wording.model_dump(mode="json")})
            writer = Writer(annotations, wording, asker, journal, tally)
            await writer.run(options.limit, options.concurrency)


def _show(tally: Tally, out: Path, console: Console) -> None:
    table = Table("written", "count")
    table.add_row("dialogues", f"{tally.dialogues:,}")
    table.add_row("turns", f"{tally.turns:,}")
    table.add_row("tokens in, out", f"{tally.tokens_in:,}, {tally.tokens_out:,}")
    if tally.price_in or tally.price_out:
        table.add_row("cost", f"${tally.cost_usd:.4f}")
    for title, counts in (("failed", tally.failed), ("dropped", tally.dropped)):
        for reason, count in counts.most_common():
            table.add_row(f"{title}: {reason}", f"{count:,}")
    console.print(table)
    if tally.failed:
        console.print(f"run it again to retry the images in {out}/failed.jsonl", style="bold")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The endpoint's key is read from the environment variable OPENAI_API_KEY."
    parser.add_argument("--regions", type=Path, required=True, help="region_descriptions.json")
    parser.add_argument("--attributes", type=Path, help="attributes.json")
    parser.add_argument("--relationships", type=Path, help="relationships.json")
    parser.add_argument("--images-info", type=Path, help="image_data.json, with image sizes")
    parser.add_argument("--endpoint", required=True,
                        help="base URL of a chat API, as http://localhost:8000/v1")  # fmt: skip
    parser.add_argument("--model", required=True, help="name of the model at the endpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for dialogues.jsonl")
    parser.add_argument("--limit", type=_positive, help="use the first N images")
    parser.add_argument("--concurrency", type=_positive, default=8, help="simultaneous requests")
    parser.add_argument("--seeds", type=Path, help="YAML file of instructions and seed examples")
    parser.add_argument("--price-in", type=_not_negative, default=0.0,
                        help="US dollars per million tokens read, to show the cost")  # fmt: skip
    parser.add_argument("--price-out", type=_not_negative, default=0.0,
                        help="US dollars per million tokens written")  # fmt: skip
    parser.add_argument("--retries", type=int, default=6, help="retries of a failed request")
    parser.add_argument("--timeout", type=float, default=120.0, help="of a request, in seconds")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value


main = Command(
    "region-chat", _add_arguments, _run,
    description="Write dialogues about annotated regions with a language model.",
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
