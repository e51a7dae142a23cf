"""A kernel that writes notes and publishes each durably, until it has written 40 or a crash point ends it.

It says at once, a line each: `made N` for an acknowledged write, `posted SEQ N` for an acknowledged publish,
`saw SEQ N` for what a listener was given, `handled SEQ N` for what the durable subscription was, and `over` at the end.
"""

import asyncio
import sys
from pathlib import Path

from kernel.testing import ALLOW_ALL, running_kernel

NOTES = """
import os
from kernel import Context, Event, Plugin
notes = Plugin("notes", version="1.0.0", durable=["notes.#"],
               migrations=["CREATE TABLE notes__made (n INTEGER PRIMARY KEY)"])

def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # at once and whole: the next step may be the last

@notes.function("make")
async def make(ctx: Context, n: int) -> None:
    def insert(tx) -> None:
        tx.execute("INSERT OR IGNORE INTO notes__made (n) VALUES (?)", (n,))
        tx.publish("notes.made", n)
    await ctx.store.write(insert)
    say("made", n)

@notes.function("post")
async def post(ctx: Context, n: int) -> None:
    event = await ctx.publish("notes.posted", n)
    say("posted", event.seq, n)

@notes.on("notes.*")
async def saw(ctx: Context, event: Event) -> None:
    say("saw", event.seq, event.data)

@notes.on("notes.#", durable=True)
async def handled(ctx: Context, event: Event) -> None:
    say("handled", event.seq, event.data)
"""


async def main(home: Path, first: int) -> None:
    async with running_kernel(home, plugins={"allow_all": ALLOW_ALL, "notes": NOTES}) as kernel:
        ctx = kernel.own_context(kernel.modules.get("notes").generation)
        for start in range(first, first + 40, 4):
            await asyncio.gather(
                *(ctx.call(f"notes.{'make' if n % 2 else 'post'}", n) for n in range(start, start + 4))
            )
        while any(subscription.pending for subscription in kernel.event_log.stats().subscriptions):
            await asyncio.sleep(0.01)
    print("over", flush=True)


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
